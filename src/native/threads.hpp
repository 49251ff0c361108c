// Blocks of work on several threads, each with its own aligned scratch memory.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace timewarp {

class Scratch {
 public:
  explicit Scratch(long bytes) : memory_(std::aligned_alloc(64, (std::max(bytes, 64L) + 63) / 64 * 64)) {
    if (!memory_) throw std::bad_alloc();
  }
  ~Scratch() { std::free(memory_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* get() const { return memory_; }

 private:
  void* memory_;
};

// Calls work(first, last, scratch) on pieces of 0 ... n - 1, `grain` long, in up to `n_threads` threads. Results must
// not depend on how the range is cut. Threads live for one call: starting one costs some ten microseconds, and nothing
// is left behind that a fork would break.
template <class Work>
void parallel(long n, long grain, int n_threads, long scratch_bytes, const Work& work) {
  const long pieces = (n + grain - 1) / grain;
  const int threads = static_cast<int>(std::min<long>(n_threads, pieces));
  if (threads <= 1) {
    Scratch scratch(scratch_bytes);
    work(0L, n, scratch.get());
    return;
  }
  std::atomic<long> next{0};
  std::vector<std::exception_ptr> errors(threads);
  auto body = [&](int thread) {
    try {
      Scratch scratch(scratch_bytes);
      for (long piece; (piece = next++) < pieces;)
        work(piece * grain, std::min((piece + 1) * grain, n), scratch.get());
    } catch (...) {
      errors[thread] = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  others.reserve(threads - 1);
  try {
    for (int k = 1; k < threads; ++k) others.emplace_back(body, k);
  } catch (const std::system_error&) {
    // No more threads are to be had: those that are there, and this one, do the work.
  }
  body(0);
  for (auto& other : others) other.join();
  for (auto& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace timewarp
