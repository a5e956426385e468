// Just enough of CUDA for a C++ compiler: one thread at a time runs a kernel, under the index that the test sets.

#define __global__
#define __device__

struct index3 {
    unsigned x;
};
static index3 blockIdx, blockDim, threadIdx;

extern "C" void set_index(unsigned block, unsigned thread, unsigned threads)
{
    blockIdx.x = block;
    threadIdx.x = thread;
    blockDim.x = threads;
}

template <class T> static T atomicAdd(T *at, T n)
{
    T old = *at;
    *at = old + n;
    return old;
}

template <class T> static T atomicMin(T *at, T n)
{
    T old = *at;
    *at = n < old ? n : old;
    return old;
}

template <class T> static T atomicMax(T *at, T n)
{
    T old = *at;
    *at = n > old ? n : old;
    return old;
}

static int __clzll(long long n) { return n ? __builtin_clzll(n) : 64; }
