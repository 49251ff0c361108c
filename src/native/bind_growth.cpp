// timewarp.native._core.GrowthKernel: features of a growing molecule; see timewarp/flows/growth/compiled_features.py.
// GrowthNetwork and GrowthSampler: whole proposals; see timewarp/flows/growth/compiled.py.
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>

#include "kernels.hpp"
#include "layers.hpp"
#include "threads.hpp"

namespace timewarp {
namespace {

using F = Array<float, 1>;
using I = Array<std::int32_t, 1>;
using D1 = Array<double, 1>;
using D2 = Array<double, 2>;
using D3 = Array<double, 3>;
using D4 = Array<double, 4>;
// fused, its bias, angle, bias of pairs, then weight and bias of join, widen and narrow.
using BlockArrays = std::tuple<D2, D1, D2, D2, D2, D1, D2, D1, D2, D1>;

class GrowthKernel : Kept {
 public:
  GrowthKernel(int n_atoms, bool has_solvent, bool linear, F rho, F scaled, F outer, F product, F self_energy,
               F surface, F tanh, F necks, F site_weights, F site_charge, F site_heavy,
               Array<std::uint8_t, 1> beyond, F cosine, F sine, F interpolation, F log_slope, I root_centre,
               float coulomb, F map_patches, int map_size) {
    t_.n_atoms = n_atoms;
    t_.has_solvent = has_solvent;
    t_.linear = linear;
    const std::size_t n = n_atoms, sites = site_charge.size();
    expect(n_atoms > 0 && sites > 1, "atoms and sites");
    expect(!has_solvent || (rho.size() == n && scaled.size() == n && outer.size() == n && product.size() == n * n &&
                            self_energy.size() == n && surface.size() == n && tanh.size() == 3 * n &&
                            (necks.size() == 0 || necks.size() == 3 * n * n)),
           "solvent tables of all atoms");
    expect(site_weights.size() == sites * n && site_heavy.size() == sites && beyond.size() == (sites - 1) * sites,
           "tables of all sites");
    constexpr std::size_t multiples = (kHighestPeriodicity + 1) * kFine, weights = kCoarse * kFine;
    expect(cosine.size() == 2 * multiples && sine.size() == 2 * multiples && interpolation.size() == 2 * weights &&
               log_slope.size() == kFine,
           "tables of both grids");
    t_.rho = keep(rho);
    t_.scaled = keep(scaled);
    t_.outer = keep(outer);
    t_.product = keep(product);
    t_.self_energy = keep(self_energy);
    t_.surface = keep(surface);
    t_.tanh = keep(tanh);
    t_.necks = necks.size() ? keep(necks) : nullptr;
    t_.site_weights = keep(site_weights);
    t_.site_charge = keep(site_charge);
    t_.site_heavy = keep(site_heavy);
    beyond_ = copied<std::uint8_t>(beyond);
    t_.beyond = beyond_.data();
    const float *cosines = keep(cosine), *sines = keep(sine), *interpolations = keep(interpolation);
    for (int grid = 0; grid < 2; ++grid) {
      t_.cosine[grid] = cosines + grid * multiples;
      t_.sine[grid] = sines + grid * multiples;
      t_.interpolation[grid] = interpolations + grid * weights;
    }
    t_.log_slope = keep(log_slope);
    take_centre(root_centre, t_.root_centre);
    t_.coulomb = coulomb;
    expect(map_size >= 0 && (map_size ? map_patches.size() % (16 * std::size_t(map_size) * map_size) == 0
                                      : map_patches.size() == 0),
           "patches of whole maps");
    t_.map_patches = keep(map_patches);
    t_.map_size = map_size;
    n_patches_ = map_patches.size() / 16;
    n_sites_ = int(sites);
  }

  GrowthKernel(const GrowthKernel&) = delete;  // tables point into this

  void add_step(I corners, I fragment, I old, I turning, F lj12, F lj6, F charge, I terms, I periodicity, F phase, F k,
                F unplaced, I map_turning, I map_fixed, I map_first, I centre, bool twisting) {
    GrowthStep s{};
    take_centre(centre, s.centre);
    s.twisting = twisting;
    expect(corners.size() == 4, "four corners");
    s.n_fragment = int(fragment.size());
    s.n_old = int(old.size());
    s.n_terms = int(periodicity.size());
    const std::size_t pairs = fragment.size() * old.size();
    expect(lj12.size() == pairs && lj6.size() == pairs && charge.size() == pairs, "a number for each pair");
    expect(terms.size() == 4 * periodicity.size() && phase.size() == periodicity.size() && k.size() == phase.size(),
           "torsion terms");
    expect(unplaced.size() == fragment.size() + old.size(), "mean descreening of each placed atom");
    for (const I& atoms : {corners, fragment, old, turning, terms, map_turning, map_fixed})
      for (std::size_t i = 0; i < atoms.size(); ++i)
        expect(atoms.data()[i] >= 0 && atoms.data()[i] < t_.n_atoms, "atoms within the molecule");
    for (std::size_t i = 0; i < periodicity.size(); ++i)
      expect(periodicity.data()[i] >= 0 && periodicity.data()[i] <= kHighestPeriodicity, "periodicities up to 8");
    expect(map_turning.size() == 4 * map_first.size() && map_fixed.size() == map_turning.size(), "torsions of maps");
    for (std::size_t i = 0; i < map_first.size(); ++i)
      expect(map_first.data()[i] >= 0 && std::size_t(map_first.data()[i]) + t_.map_size * t_.map_size <= n_patches_,
             "maps within their table");
    s.n_maps = int(map_first.size());
    s.map_turning = keep(map_turning);
    s.map_fixed = keep(map_fixed);
    s.map_first = keep(map_first);
    for (int i = 0; i < 4; ++i) s.corners[i] = corners.data()[i];
    s.fragment = keep(fragment);
    s.old = keep(old);
    s.turning = keep(turning);
    s.n_turning = int(turning.size());
    s.terms = keep(terms);
    s.periodicity = keep(periodicity);
    s.lj12 = keep(lj12);
    s.lj6 = keep(lj6);
    s.charge = keep(charge);
    s.phase = keep(phase);
    s.k = keep(k);
    s.unplaced = keep(unplaced);
    steps_.push_back(s);
    t_.steps = steps_.data();
    t_.n_steps = int(steps_.size());
    t_.most_pairs = std::max(t_.most_pairs, std::int32_t(pairs));
  }

  const GrowthTables& tables() const {
    expect(n_sites_ == t_.n_steps + 1, "a step for each site but the root");
    return t_;
  }

  template <class Io>
  void features(Array<Io, 3> x, int first_step, int last_step, Out<double, 2> angle, Out<float, 3> profile, Out<float, 4> ahead,
                Out<float, 3> bends, Out<float, 4> spatial, int threads, GrowthFeatures<Io> kernel) {
    expect(0 <= first_step && first_step < last_step && last_step <= t_.n_steps, "steps of the growth");
    const std::size_t n = x.shape(0), steps = last_step - first_step;
    expect(x.shape(1) == std::size_t(t_.n_atoms) && x.shape(2) == 3, "positions (n, atoms, 3)");
    expect(angle.size() == n * steps && profile.size() == n * steps * kFine && ahead.size() == n * steps * 2 * kCoarse &&
               bends.size() == n * steps * 2 && spatial.size() == n * steps * n_sites_ * kSpatial,
           "room for the features");
    const GrowthOut out{angle.data(), profile.data(), ahead.data(), bends.data(), spatial.data()};
    const GrowthTables& t = tables();
    const Io* positions = x.data();
    nb::gil_scoped_release release;
    parallel(long(n), isa().elementary->lanes_f32, threads, isa().growth->scratch_bytes(t),
             [&](long first, long last, void* scratch) {
               kernel(t, positions, first_step, last_step, out, first, last, scratch);
             });
  }

 private:
  void take_centre(const I& from, std::int32_t* to) const {
    expect(from.size() == 4, "a centre and three neighbours");
    for (int i = 0; i < 4; ++i) {
      to[i] = from.data()[i];
      expect((to[i] < 0) == (from.data()[0] < 0) && to[i] < t_.n_atoms, "a stereocentre within the molecule, or none");
    }
  }

  GrowthTables t_{};
  int n_sites_ = 0;
  std::size_t n_patches_ = 0;
  std::vector<GrowthStep> steps_;
  std::vector<std::uint8_t> beyond_;
};

// The weights, shared by the molecules and orders of growth that they serve.
struct GrowthNetwork : KeptLayers {
  std::vector<GrowthBlockTables> blocks;
  GrowthNetworkTables view{};
};

std::shared_ptr<GrowthNetwork> make_growth_network(int width, int n_heads, int harmonics, bool physics, double epsilon,
                                                   D2 embed, D2 read, D1 read_bias, D2 waves,
                                                   const std::vector<BlockArrays>& blocks) {
  auto network = std::make_shared<GrowthNetwork>();
  GrowthNetwork& w = *network;
  GrowthNetworkTables& n = w.view;
  expect(width > 0 && width <= kMostWide && n_heads > 0 && width % n_heads == 0 && !blocks.empty(),
         "a width that is a multiple of the heads");
  expect(harmonics > 0 && harmonics <= kMostWide, "some harmonics, not too many");
  n.width = width;
  n.padded = (width + kTile - 1) / kTile * kTile;
  n.n_heads = n_heads;
  n.n_blocks = int(blocks.size());
  n.harmonics = harmonics;
  n.physics = physics;
  n.epsilon = float(epsilon);
  const std::size_t d = width, padded = n.padded;
  expect(embed.shape(0) == padded && embed.shape(1) == kInputs, "an embedding of all inputs");
  expect(harmonics > 0 && read.shape(0) >= std::size_t(2 * harmonics + 3) && read.shape(1) == d &&
             read_bias.size() == read.shape(0) && waves.shape(0) == std::size_t(2 * harmonics) &&
             waves.shape(1) == kFine,
         "a read-out of all harmonics");
  n.embed = w.pack(embed, nullptr);
  n.read = w.pack(read, read_bias.data());
  n.waves = w.keep(waves.data(), waves.size());
  for (const auto& [fused, fused_bias, angle, bias, join, join_bias, widen, widen_bias, narrow, narrow_bias] : blocks) {
    const std::size_t hidden = widen.shape(0);
    expect(fused.shape(0) >= 3 * d && fused.shape(1) == d && fused_bias.size() == fused.shape(0) &&
               angle.shape(0) == 2 * d && angle.shape(1) == 2 * kHarmonicsIn &&
               bias.shape(0) >= std::size_t(n_heads) && bias.shape(1) == kSpatial && join.shape(0) == padded &&
               join.shape(1) == d + std::size_t(n_heads) * kPair && join_bias.size() == padded &&
               widen.shape(1) == d && widen_bias.size() == hidden && narrow.shape(0) == padded &&
               narrow.shape(1) <= hidden && narrow_bias.size() == padded,
           "layers that fit the width");
    n.hidden = std::max(n.hidden, int(hidden));
    w.blocks.push_back({w.pack(fused, fused_bias.data()), w.keep(angle.data(), angle.size()), w.pack(bias, nullptr),
                        w.pack(join, join_bias.data()), w.pack(widen, widen_bias.data()),
                        w.pack(narrow, narrow_bias.data())});
  }
  n.blocks = w.blocks.data();
  return network;
}

// A network on a molecule in one order of growth.
class GrowthSampler : Kept {
 public:
  GrowthSampler(std::shared_ptr<GrowthKernel> kernel, std::shared_ptr<GrowthNetwork> network, D2 steps, D3 sites,
                D4 pair_bias, D3 relations)
      : kernel_(std::move(kernel)), network_(std::move(network)) {
    const GrowthNetworkTables& n = network_->view;
    const std::size_t n_steps = kernel_->tables().n_steps, n_sites = n_steps + 1, blocks = n.n_blocks;
    expect(steps.shape(0) == n_steps && steps.shape(1) == std::size_t(n.padded), "constants of each step");
    expect(sites.shape(0) == blocks && sites.shape(1) == n_sites && sites.shape(2) == 2 * std::size_t(n.width),
           "keys and values of each fragment");
    expect(pair_bias.shape(0) == blocks && pair_bias.shape(1) == n_steps && pair_bias.shape(2) == n_sites &&
               pair_bias.shape(3) == std::size_t(n.n_heads),
           "a bias for each pair");
    expect(relations.shape(0) == n_steps && relations.shape(1) == n_sites && relations.shape(2) == kRelation,
           "relations of each pair");
    s_ = {keep(steps.data(), steps.size()), keep(sites.data(), sites.size()), keep(pair_bias.data(), pair_bias.size()),
          keep(relations.data(), relations.size())};
  }

  GrowthSampler(const GrowthSampler&) = delete;

  // `uniform` or `backward` may be empty: then nothing is drawn, or what is there is not scored.
  template <class Io>
  void regrow(Array<Io, 3> x, int kept, Array<std::uint8_t, 1> wells, D2 uniform, Out<Io, 3> drawn, Out<double, 1> forward, Out<double, 1> backward,
              int threads, GrowthRegrow<Io> kernel) {
    const GrowthTables& t = kernel_->tables();
    const std::size_t n = x.shape(0);
    expect(x.shape(1) == std::size_t(t.n_atoms) && x.shape(2) == 3, "positions (n, atoms, 3)");
    expect(0 <= kept && kept < t.n_steps, "fewer steps kept than there are");
    const bool draws = uniform.size() > 0, scores = backward.size() > 0;
    expect(!draws || (uniform.shape(0) == std::size_t(t.n_steps - kept) && uniform.shape(1) == n && forward.size() == n &&
                      drawn.size() == x.size()),
           "a number for each torsion that is redrawn, and room for what is drawn");
    expect(!scores || backward.size() == n, "room for each density");
    expect(wells.size() == 0 || wells.size() == std::size_t(t.n_steps), "which wells each step may enter, or nothing");
    const std::uint8_t* open = wells.size() ? wells.data() : nullptr;
    const Regrowth<Io> task{x.data(), kept, open, long(n), draws ? uniform.data() : nullptr, drawn.data(), forward.data(),
                            scores ? backward.data() : nullptr};
    const GrowthNetworkTables& view = network_->view;
    nb::gil_scoped_release release;
    parallel(long(n), isa().growth->block, threads, isa().growth->regrow_bytes(t, view),
             [&](long first, long last, void* scratch) { kernel(t, view, s_, task, first, last, scratch); });
  }

 private:
  std::shared_ptr<GrowthKernel> kernel_;
  std::shared_ptr<GrowthNetwork> network_;
  GrowthStaticTables s_{};
};

}  // namespace

void bind_growth(nb::module_& m) {
  nb::class_<GrowthNetwork>(m, "GrowthNetwork")
      .def(nb::new_([](int width, int n_heads, int harmonics, bool physics, double epsilon, D2 embed, D2 read,
                       D1 read_bias, D2 waves, std::vector<BlockArrays> blocks) {
             return make_growth_network(width, n_heads, harmonics, physics, epsilon, embed, read, read_bias, waves, blocks);
           }),
           nb::kw_only(), nb::arg("width"), nb::arg("n_heads"), nb::arg("harmonics"), nb::arg("physics"),
           nb::arg("epsilon"), nb::arg("embed"), nb::arg("read"), nb::arg("read_bias"), nb::arg("waves"),
           nb::arg("blocks"));
  nb::class_<GrowthSampler>(m, "GrowthSampler")
      .def(nb::init<std::shared_ptr<GrowthKernel>, std::shared_ptr<GrowthNetwork>, D2, D3, D4, D3>())
      .def("regrow",
           [](GrowthSampler& s, Array<float, 3> x, int kept, Array<std::uint8_t, 1> wells, D2 uniform, Out<float, 3> drawn, Out<double, 1> forward,
              Out<double, 1> backward, int threads) {
             s.regrow<float>(x, kept, wells, uniform, drawn, forward, backward, threads, isa().growth->regrow_f32);
           })
      .def("regrow", [](GrowthSampler& s, Array<double, 3> x, int kept, Array<std::uint8_t, 1> wells, D2 uniform, Out<double, 3> drawn,
                        Out<double, 1> forward, Out<double, 1> backward, int threads) {
        s.regrow<double>(x, kept, wells, uniform, drawn, forward, backward, threads, isa().growth->regrow_f64);
      });
  nb::class_<GrowthKernel>(m, "GrowthKernel")
      .def(nb::init<int, bool, bool, F, F, F, F, F, F, F, F, F, F, F, Array<std::uint8_t, 1>, F, F, F, F, I, float, F,
                    int>())
      .def("add_step", &GrowthKernel::add_step)
      .def("features",
           [](GrowthKernel& k, Array<float, 3> x, int i, int j, Out<double, 2> a, Out<float, 3> p, Out<float, 4> h,
              Out<float, 3> b, Out<float, 4> s, int threads) {
             k.features<float>(x, i, j, a, p, h, b, s, threads, isa().growth->features_f32);
           })
      .def("features", [](GrowthKernel& k, Array<double, 3> x, int i, int j, Out<double, 2> a, Out<float, 3> p,
                          Out<float, 4> h, Out<float, 3> b, Out<float, 4> s, int threads) {
        k.features<double>(x, i, j, a, p, h, b, s, threads, isa().growth->features_f64);
      });
}

}  // namespace timewarp
