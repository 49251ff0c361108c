// Which instruction set to use: the best one that this processor has, or the one that is asked for.
#include <stdexcept>
#include <string>

#include "kernels.hpp"

namespace timewarp {

#define DECLARE(isa)                                  \
  namespace isa {                                     \
  extern const ElementaryKernels elementary_kernels;  \
  extern const EnergyKernels energy_kernels;          \
  extern const FlowKernels flow_kernels;              \
  extern const GeometryKernels geometry_kernels;      \
  extern const GrowthKernels growth_kernels;          \
  }                                                   \
  static const InstructionSet isa##_set{#isa, &isa::elementary_kernels, &isa::energy_kernels, &isa::flow_kernels, \
                                            &isa::geometry_kernels, &isa::growth_kernels};

DECLARE(baseline)
#if defined(TIMEWARP_X86)
DECLARE(avx2)
DECLARE(avx512)
#endif

static const InstructionSet* find(const std::string& name) {
#if defined(TIMEWARP_X86)
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
  if (has_avx512 && (name == "avx512" || name == "auto")) return &avx512_set;
  if (has_avx2 && (name == "avx2" || name == "auto")) return &avx2_set;
#endif
  return name == "baseline" || name == "auto" ? &baseline_set : nullptr;
}

static const InstructionSet* chosen = find("auto");

const InstructionSet& isa() { return *chosen; }

void choose(const char* name) {
  const InstructionSet* found = find(name);
  if (!found)
    throw std::invalid_argument(std::string("no instruction set '") + name +
                                "' on this processor; there are baseline and, on x86, avx2 and avx512 where it has them");
  chosen = found;
}

}  // namespace timewarp
