// Blocks of threads on the CPU: one thread after the other, or, for kernels whose threads wait
// for each other, the threads of a block at once.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

class Barrier {
    std::mutex mutex;
    std::condition_variable all_here;
    unsigned members = 1, waiting = 0, round = 0;

  public:
    void expect(unsigned count) { members = count; }
    void wait() {
        std::unique_lock<std::mutex> lock(mutex);
        const unsigned mine = round;
        if (++waiting == members) {
            waiting = 0;
            ++round;
            all_here.notify_all();
        } else {
            all_here.wait(lock, [&] { return round != mine; });
        }
    }
};

inline Barrier &block_barrier() {
    static Barrier barrier;
    return barrier;
}

// Runs `body(block, thread)` for each thread of a block at once.
template <class Body> void run_block(unsigned block, unsigned threads, Body body) {
    block_barrier().expect(threads);
    std::vector<std::thread> running;
    for (unsigned thread_in_block = 0; thread_in_block < threads; ++thread_in_block)
        running.emplace_back([=] { body(block, thread_in_block); });
    for (std::thread &one : running) one.join();
}
