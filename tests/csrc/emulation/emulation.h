// A CUDA device in one CPU thread: every CUDA thread is a fiber, and a seed decides which one runs next.
//
// A fiber runs until it waits: at a barrier, in a warp's collective, on a flag, and, at random, where it reads memory;
// one block of each cluster is much slower than the others. A missing barrier thus shows as a result that depends on
// the seed. Shared memory starts as NaN, ends at a guard page, and is gone when its block is. What this cannot show is
// the device's weak memory order: here every write is seen at once by all.
#pragma once

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

namespace emulation {

using wavegen::cuda::Launch;
using wavegen::cuda::Quad;
using wavegen::cuda::Words;
constexpr int kWarp = 32;
constexpr size_t kStack = 64 * 1024;

[[noreturn]] inline void fail(const char* what) {
    std::fprintf(stderr, "emulated device: %s\n", what);
    std::fflush(stderr);
    std::_Exit(86);
}

// Memory that ends at a page nobody may touch, filled with NaN.
class Guarded {
  public:
    explicit Guarded(size_t bytes) : bytes_(bytes), pages_((bytes + 4095) / 4096 * 4096 + 4096) {
        base_ = static_cast<uint8_t*>(
            mmap(nullptr, pages_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        if (base_ == MAP_FAILED) fail("no memory");
        mprotect(base_ + pages_ - 4096, 4096, PROT_NONE);
        std::memset(data(), 0xff, bytes);
    }
    ~Guarded() { munmap(base_, pages_); }
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;
    uint8_t* data() const { return base_ + pages_ - 4096 - (bytes_ + 15) / 16 * 16; }

  private:
    size_t bytes_, pages_;
    uint8_t* base_;
};

struct Machine {
    size_t shared_limit = 232448;
    int concurrent_clusters = 4;  // 0: a device without clusters
    uint64_t seed = 0;            // 0: in turn
};
inline Machine& machine() {
    static Machine m;
    return m;
}

struct Meeting {  // of threads: who is there, and who waits
    int arrived = 0;
    std::vector<int> waiting;
};

struct Warp : Meeting {
    const void* kind = nullptr;
    void* slots[kWarp] = {};
};

struct Fiber {
    jmp_buf at;
    ucontext_t start;
    uint8_t* stack;
    int block, thread;
    bool begun;
};

class Device {
  public:
    static Device& now() {
        static Device device;
        return device;
    }

    int run(const Launch& how, const std::function<void()>& kernel) {
        if (how.blocks % how.cluster || how.shared_bytes > machine().shared_limit || how.blocks < 1) return 1;
        random_ = machine().seed * 0x9e3779b97f4a7c15ull + 1;
        for (int64_t first = 0; first < how.blocks; first += how.cluster) run_cluster(how, first, kernel);
        return 0;
    }

    Fiber& fiber() { return fibers_[current_]; }
    int64_t block() const { return first_block_ + fibers_[current_].block; }
    int threads() const { return threads_; }
    int cluster_size() const { return int(shared_.size()); }
    uint8_t* shared(int block) { return shared_[block]->data(); }
    size_t shared_bytes() const { return shared_bytes_; }
    bool gone(int block) const { return left_[block] == threads_; }

    void meet(Meeting& meeting, int count) {
        if (++meeting.arrived < count) {
            meeting.waiting.push_back(current_);
            leave();
            return;
        }
        meeting.arrived = 0;
        for (int other : meeting.waiting) runnable_.push_back(other);
        meeting.waiting.clear();
        pause();
    }
    Meeting& block_meeting() { return blocks_[fiber().block]; }
    Meeting& cluster_meeting() { return cluster_; }
    Warp& warp() { return warps_[(fiber().block * threads_ + fiber().thread) / kWarp]; }

    // Lets others run first.
    void pause() {
        runnable_.push_back(current_);
        leave();
    }
    void pause_at_random() {
        if (machine().seed != 0 && next_random() % 512 == 0) pause();
    }
    void spin() {
        if (++idle_ > 64 * int64_t(fibers_.size()) + 1000000) fail("deadlock: every thread waits on a flag");
        pause();
    }
    void made_progress() { idle_ = 0; }

  private:
    void run_cluster(const Launch& how, int64_t first, const std::function<void()>& kernel) {
        first_block_ = first, threads_ = how.threads, kernel_ = &kernel, shared_bytes_ = how.shared_bytes;
        const int count = how.cluster * how.threads;
        blocks_.assign(how.cluster, Meeting());
        warps_.assign((count + kWarp - 1) / kWarp, Warp());
        cluster_ = Meeting();
        shared_.clear();
        for (int b = 0; b < how.cluster; ++b) shared_.push_back(std::make_unique<Guarded>(how.shared_bytes + 16));
        while (int(stacks_.size()) < count) {
            void* stack =
                mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (stack == MAP_FAILED) fail("no memory for stacks");
            stacks_.push_back(static_cast<uint8_t*>(stack));
        }
        fibers_.assign(count, Fiber());
        runnable_.clear();
        for (int i = 0; i < count; ++i) {
            fibers_[i].stack = stacks_[i], fibers_[i].block = i / threads_, fibers_[i].thread = i % threads_;
            runnable_.push_back(i);
        }
        idle_ = 0, live_ = count;
        left_.assign(how.cluster, 0);
        laggard_ = how.cluster > 1 && machine().seed != 0 ? int(machine().seed % how.cluster) : -1;
        while (live_ > 0) {
            if (runnable_.empty()) fail("deadlock: threads wait at barriers that others never reach");
            step();
        }
    }

    void step() {
        size_t pick = head_;
        if (machine().seed != 0) {
            do pick = next_random() % runnable_.size();
            while (fibers_[runnable_[pick]].block == laggard_ && next_random() % 32 != 0);
            current_ = runnable_[pick];
            runnable_[pick] = runnable_.back();
            runnable_.pop_back();
        } else {
            if (head_ >= runnable_.size()) head_ = 0;
            current_ = runnable_[head_++];
            if (head_ * 2 > runnable_.size()) {
                runnable_.erase(runnable_.begin(), runnable_.begin() + long(head_));
                head_ = 0;
            }
        }
        Fiber& f = fibers_[current_];
        if (_setjmp(home_) == 0) {
            if (f.begun) _longjmp(f.at, 1);
            f.begun = true;
            getcontext(&f.start);
            f.start.uc_stack.ss_sp = f.stack;
            f.start.uc_stack.ss_size = kStack;
            f.start.uc_link = nullptr;
            makecontext(&f.start, &Device::enter, 0);
            setcontext(&f.start);
        }
    }

    static void enter() {
        Device& d = now();
        (*d.kernel_)();
        --d.live_;
        ++d.left_[d.fiber().block];
        _longjmp(d.home_, 1);
    }

    void leave() {
        if (_setjmp(fiber().at) == 0) _longjmp(home_, 1);
    }

    uint64_t next_random() {
        random_ ^= random_ << 13, random_ ^= random_ >> 7, random_ ^= random_ << 17;
        return random_;
    }

    jmp_buf home_;
    std::vector<Fiber> fibers_;
    std::vector<uint8_t*> stacks_;
    std::vector<int> runnable_;
    std::vector<Meeting> blocks_;
    std::vector<Warp> warps_;
    Meeting cluster_;
    std::vector<std::unique_ptr<Guarded>> shared_;
    const std::function<void()>* kernel_ = nullptr;
    int64_t first_block_ = 0, idle_ = 0;
    size_t shared_bytes_ = 0, head_ = 0;
    int threads_ = 0, current_ = 0, live_ = 0, laggard_ = -1;
    std::vector<int> left_;  // threads of each block that are done
    uint64_t random_ = 1;
};

// All lanes hand in a slot; the last to come combines them. `kind` must be the same in all.
template <typename Slot, typename Combine>
void collective(const void* kind, Slot& slot, Combine combine) {
    Device& d = Device::now();
    if (d.threads() % kWarp) fail("a collective in a partial warp");
    Warp& w = d.warp();
    if (w.arrived == 0) w.kind = kind;
    if (w.kind != kind) fail("the lanes of a warp call different collectives");
    w.slots[d.fiber().thread % kWarp] = &slot;
    if (w.arrived + 1 == kWarp) {
        Slot* slots[kWarp];
        for (int i = 0; i < kWarp; ++i) slots[i] = static_cast<Slot*>(w.slots[i]);
        combine(slots);
    }
    d.meet(w, kWarp);
}

inline float from_bf16(uint32_t bits) {
    bits <<= 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

}  // namespace emulation

namespace wavegen::cuda::simt {

inline int thread() { return emulation::Device::now().fiber().thread; }
inline int lane() { return thread() % kWarp; }
inline int warp() { return thread() / kWarp; }
inline int64_t block() { return emulation::Device::now().block(); }
inline void sync_block() {
    emulation::Device& d = emulation::Device::now();
    d.meet(d.block_meeting(), d.threads());
}
inline void sync_cluster() {
    emulation::Device& d = emulation::Device::now();
    d.meet(d.cluster_meeting(), d.threads() * d.cluster_size());
}
inline uint8_t* shared_memory() {
    emulation::Device& d = emulation::Device::now();
    return d.shared(d.fiber().block);
}

template <typename T>
struct Exchange {
    T in, out;
    int argument;
};
template <typename T>
T exchange(const void* kind, T value, int argument, int (*source)(int lane, int argument)) {
    Exchange<T> mine = {value, value, argument};
    emulation::collective(kind, mine, [source](Exchange<T>** all) {
        for (int i = 0; i < kWarp; ++i) {
            int from = source(i, all[i]->argument);
            all[i]->out = all[from >= 0 ? from : i]->in;
        }
    });
    return mine.out;
}
inline const char kShuffleXor[] = "xor", kShuffleUp[] = "up", kShuffle[] = "shuffle", kBallot[] = "ballot",
                  kSync[] = "sync", kMma[] = "mma", kMmaSigned[] = "signed", kMmaUnsigned[] = "unsigned";
template <typename T>
T shuffle_xor(T value, int mask) {
    return exchange(kShuffleXor, value, mask, [](int lane, int m) { return lane ^ m; });
}
template <typename T>
T shuffle_up(T value, int distance) {
    return exchange(kShuffleUp, value, distance, [](int lane, int d) { return lane - d; });
}
template <typename T>
T shuffle(T value, int source) {
    return exchange(kShuffle, value, source, [](int, int s) { return s; });
}
inline uint32_t ballot(bool vote) {
    Exchange<uint32_t> mine = {vote, 0, 0};
    emulation::collective(kBallot, mine, [](Exchange<uint32_t>** all) {
        uint32_t votes = 0;
        for (int i = 0; i < kWarp; ++i) votes |= all[i]->in << i;
        for (int i = 0; i < kWarp; ++i) all[i]->out = votes;
    });
    return mine.out;
}
inline void sync_warp() {
    Exchange<int> mine = {};
    emulation::collective(kSync, mine, [](Exchange<int>**) {});
}

inline void check_aligned(const void* at, size_t bytes) {
    if (reinterpret_cast<uintptr_t>(at) % bytes) emulation::fail("a misaligned access");
    emulation::Device::now().pause_at_random();
}
inline uint32_t load_word(const void* at) {
    check_aligned(at, 4);
    uint32_t v;
    std::memcpy(&v, at, 4);
    return v;
}
inline Words load_words(const void* at) {
    check_aligned(at, 16);
    Words v;
    std::memcpy(&v, at, 16);
    return v;
}
inline Quad load_quad(const void* at) {
    check_aligned(at, 16);
    Quad v;
    std::memcpy(&v, at, 16);
    return v;
}
inline void store_words(void* at, const Words& v) {
    check_aligned(at, 16);
    std::memcpy(at, &v, 16);
}
inline void store_quad(void* at, const float (&v)[4]) {
    check_aligned(at, 16);
    std::memcpy(at, v, 16);
}

inline uint16_t to_bf16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    if (std::isnan(value)) return 0x7fff;
    return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline float fast_exp(float value) { return std::exp(value); }

// The fragments are those of the PTX ISA: lane i holds of a the words of row i / 4 (+ 8 in words 1 and 3) at bytes
// 4 (i % 4) (+ 16 in words 2 and 3) of 32, of b those of column i / 4, of c row i / 4 (+ 8), columns 2 (i % 4) (+ 1).
template <typename C>
struct Fragments {
    C* c;
    Words a;
    uint32_t b[2];
};
template <typename C, typename Multiply>
void mma(const char* kind, C (&c)[4], const Words& a, uint32_t b0, uint32_t b1, Multiply multiply) {
    Fragments<C> mine = {c, a, {b0, b1}};
    emulation::collective(kind, mine, [multiply](Fragments<C>** all) {
        for (int row = 0; row < 16; ++row)
            for (int column = 0; column < 8; ++column) {
                C& sum = all[row % 8 * 4 + column / 2]->c[row / 8 * 2 + column % 2];
                for (int k = 0; k < 8; ++k)  // words of 4 bytes
                    sum = multiply(sum, all[row % 8 * 4 + k % 4]->a.word[row / 8 + k / 4 * 2],
                                   all[column * 4 + k % 4]->b[k / 4]);
            }
    });
}
inline void mma_bf16(float (&c)[4], const Words& a, uint32_t b0, uint32_t b1) {
    mma(kMma, c, a, b0, b1, [](float sum, uint32_t x, uint32_t y) {
        sum = std::fma(emulation::from_bf16(x & 0xffff), emulation::from_bf16(y & 0xffff), sum);
        return std::fma(emulation::from_bf16(x >> 16), emulation::from_bf16(y >> 16), sum);
    });
}
template <typename B>
int32_t dot4(int32_t sum, uint32_t x, uint32_t y) {
    for (int i = 0; i < 4; ++i) sum += int8_t(x >> 8 * i & 255) * int32_t(B(y >> 8 * i & 255));
    return sum;
}
inline void mma_signed(int32_t (&c)[4], const Words& a, uint32_t b0, uint32_t b1) {
    mma(kMmaSigned, c, a, b0, b1, dot4<int8_t>);
}
inline void mma_unsigned(int32_t (&c)[4], const Words& a, uint32_t b0, uint32_t b1) {
    mma(kMmaUnsigned, c, a, b0, b1, dot4<uint8_t>);
}

inline int cluster_rank() { return emulation::Device::now().fiber().block; }
template <typename T>
T* remote(T* local, int rank) {
    emulation::Device& d = emulation::Device::now();
    if (rank < 0 || rank >= d.cluster_size()) emulation::fail("a block outside the cluster");
    if (d.gone(rank)) emulation::fail("shared memory of a block that has left");
    ptrdiff_t offset = reinterpret_cast<uint8_t*>(local) - d.shared(d.fiber().block);
    if (offset < 0 || size_t(offset) >= d.shared_bytes()) emulation::fail("an address outside shared memory");
    return reinterpret_cast<T*>(d.shared(rank) + offset);
}
inline void signal(uint32_t* flag, uint32_t value) {
    *flag = value;
    emulation::Device::now().made_progress();
    emulation::Device::now().pause();
}
inline void await(const uint32_t* flag, uint32_t value) {
    while (*const_cast<const volatile uint32_t*>(flag) != value) emulation::Device::now().spin();
    emulation::Device::now().made_progress();
}

template <typename Parameters>
int launch(void (*kernel)(Parameters), const Launch& how, const Parameters& parameters) {
    return emulation::Device::now().run(how, [&] { kernel(parameters); });
}
template <typename Parameters>
int concurrent_clusters(void (*)(Parameters), const Launch&) {
    return emulation::machine().concurrent_clusters;
}
inline size_t shared_memory_limit() { return emulation::machine().shared_limit; }

}  // namespace wavegen::cuda::simt
