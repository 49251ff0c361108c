// Families C and B: couplings in both directions, what they condition on, and whole proposals.
#include "flow_kernels.hpp"

#include "flow_stiff.hpp"

namespace timewarp::TIMEWARP_ISA {
namespace {

TW_INLINE int block_size(long start, long last) { return last - start < kChains ? int(last - start) : kChains; }

template <class Io>
void propose(const FlowTables& t, const Io* positions, const double* base, const double* noise, Io* candidates,
             double* log_q_there, double* log_q_here, long first, long last, void* scratch) {
  const StiffEngine e(t, scratch);
  const int stride = 3 * t.tree.n_atoms, torsions = t.tree.n_torsions;
  if (!t.has_context) e.prepare();
  for (long start = first; start < last; start += kChains) {
    const int count = block_size(start, last);
    VD sum[kDoubles];
    e.load(positions, start, count, e.positions);
    for (int d = 0; d < kDoubles; ++d) to_internal(t.tree, e.positions + d * stride, e.internal + d * stride);
    if (t.n_stiff_couplings) {
      e.score_internal(sum);
      for (int d = 0; d < kDoubles; ++d) sum[d] -= log_volume(t.tree, e.internal + d * stride);
      Engine::store_sum(sum, log_q_here, start, count);
      e.load_angles(base, start, count);
      e.load_noise(noise, start, count);
      e.sample_internal(sum);
      for (int d = 0; d < kDoubles; ++d) sum[d] -= log_volume(t.tree, e.internal + d * stride);
      Engine::store_sum(sum, log_q_there, start, count);
    } else {
      // Stiff coordinates are the same in both directions: one context, and the volume element cancels.
      if (t.has_context) {
        e.encode();
        e.prepare();
      }
      for (int k = 0; k < torsions; ++k)
        for (int d = 0; d < kDoubles; ++d)
          e.angle[k * kDoubles + d] = e.internal[d * stride + 3 * t.tree.torsions[k] + 2];
      e.transport(false, sum);
      Engine::store_sum(sum, log_q_here, start, count);
      e.load_angles(base, start, count);
      e.transport(true, sum);
      Engine::store_sum(sum, log_q_there, start, count);
      e.store_torsions();
    }
    for (int d = 0; d < kDoubles; ++d) to_positions(t.tree, e.internal + d * stride, e.positions + d * stride);
    e.store_positions(candidates, start, count);
  }
}

long scratch_bytes(const FlowTables& t) { return Engine(t, nullptr).bump.used; }

}  // namespace

extern const FlowKernels flow_kernels;
const FlowKernels flow_kernels{propose<float>, propose<double>, scratch_bytes};

}  // namespace timewarp::TIMEWARP_ISA
