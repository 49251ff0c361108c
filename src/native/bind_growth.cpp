// timewarp.native._core.GrowthKernel: features of a growing molecule; see timewarp/flows/growth/native.py.
#include <algorithm>

#include "bindings.hpp"
#include "kernels.hpp"
#include "threads.hpp"

namespace timewarp {
namespace {

using F = Array<float, 1>;
using I = Array<std::int32_t, 1>;

class GrowthKernel : Kept {
 public:
  GrowthKernel(int n_atoms, bool has_solvent, F rho, F scaled, F radius, F product, F self_energy, F surface, F tanh,
               F site_weights, F site_charge, F site_heavy, Array<std::uint8_t, 1> beyond, F cosine, F sine,
               F interpolation, float coulomb) {
    t_.n_atoms = n_atoms;
    t_.has_solvent = has_solvent;
    const std::size_t n = n_atoms, sites = site_charge.size();
    expect(n_atoms > 0 && sites > 1, "atoms and sites");
    expect(!has_solvent || (rho.size() == n && scaled.size() == n && radius.size() == n && product.size() == n * n &&
                            self_energy.size() == n && surface.size() == n && tanh.size() == 3),
           "solvent tables of all atoms");
    expect(site_weights.size() == sites * n && site_heavy.size() == sites && beyond.size() == (sites - 1) * sites,
           "tables of all sites");
    expect(cosine.size() == (kHighestPeriodicity + 1) * kFine && sine.size() == cosine.size() &&
               interpolation.size() == kCoarse * kFine,
           "tables of the grid");
    t_.rho = keep(rho);
    t_.scaled = keep(scaled);
    t_.radius = keep(radius);
    t_.product = keep(product);
    t_.self_energy = keep(self_energy);
    t_.surface = keep(surface);
    if (has_solvent) t_.alpha = tanh.data()[0], t_.beta = tanh.data()[1], t_.gamma = tanh.data()[2];
    t_.site_weights = keep(site_weights);
    t_.site_charge = keep(site_charge);
    t_.site_heavy = keep(site_heavy);
    beyond_ = copied<std::uint8_t>(beyond);
    t_.beyond = beyond_.data();
    t_.cosine = keep(cosine);
    t_.sine = keep(sine);
    t_.interpolation = keep(interpolation);
    t_.coulomb = coulomb;
    n_sites_ = int(sites);
  }

  GrowthKernel(const GrowthKernel&) = delete;  // tables point into this

  void add_step(I corners, I fragment, I old, F lj12, F lj6, F charge, I terms, I periodicity, F phase, F k,
                F unplaced) {
    GrowthStep s{};
    expect(corners.size() == 4, "four corners");
    s.n_fragment = int(fragment.size());
    s.n_old = int(old.size());
    s.n_terms = int(periodicity.size());
    const std::size_t pairs = fragment.size() * old.size();
    expect(lj12.size() == pairs && lj6.size() == pairs && charge.size() == pairs, "a number for each pair");
    expect(terms.size() == 4 * periodicity.size() && phase.size() == periodicity.size() && k.size() == phase.size(),
           "torsion terms");
    expect(unplaced.size() == fragment.size() + old.size(), "mean descreening of each placed atom");
    for (const I& atoms : {corners, fragment, old, terms})
      for (std::size_t i = 0; i < atoms.size(); ++i)
        expect(atoms.data()[i] >= 0 && atoms.data()[i] < t_.n_atoms, "atoms within the molecule");
    for (std::size_t i = 0; i < periodicity.size(); ++i)
      expect(periodicity.data()[i] >= 0 && periodicity.data()[i] <= kHighestPeriodicity, "periodicities up to 8");
    for (int i = 0; i < 4; ++i) s.corners[i] = corners.data()[i];
    s.fragment = keep(fragment);
    s.old = keep(old);
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

  template <class Io>
  void features(Array<Io, 3> x, int first_step, int last_step, Out<double, 2> angle, Out<float, 3> profile, Out<float, 4> ahead,
                Out<float, 3> bends, Out<float, 4> spatial, int threads, GrowthFeatures<Io> kernel) {
    expect(0 <= first_step && first_step < last_step && last_step <= t_.n_steps, "steps of the growth");
    const std::size_t n = x.shape(0), steps = last_step - first_step;
    expect(x.shape(1) == std::size_t(t_.n_atoms) && x.shape(2) == 3, "positions (n, atoms, 3)");
    expect(n_sites_ == t_.n_steps + 1, "a step for each site but the root");
    expect(angle.size() == n * steps && profile.size() == n * steps * kFine && ahead.size() == n * steps * 2 * kCoarse &&
               bends.size() == n * steps * 2 && spatial.size() == n * steps * n_sites_ * kSpatial,
           "room for the features");
    const GrowthOut out{angle.data(), profile.data(), ahead.data(), bends.data(), spatial.data()};
    const GrowthTables& t = t_;
    const Io* positions = x.data();
    nb::gil_scoped_release release;
    parallel(long(n), isa().elementary->lanes_f32, threads, isa().growth->scratch_bytes(t),
             [&](long first, long last, void* scratch) {
               kernel(t, positions, first_step, last_step, out, first, last, scratch);
             });
  }

 private:
  GrowthTables t_{};
  int n_sites_ = 0;
  std::vector<GrowthStep> steps_;
  std::vector<std::uint8_t> beyond_;
};

}  // namespace

void bind_growth(nb::module_& m) {
  nb::class_<GrowthKernel>(m, "GrowthKernel")
      .def(nb::init<int, bool, F, F, F, F, F, F, F, F, F, F, Array<std::uint8_t, 1>, F, F, F, float>())
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
