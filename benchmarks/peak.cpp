// What one core can do at most: multiply-adds in registers, in chains that do not wait for each
// other. Nothing is loaded or stored, so no matrix product can be faster.

#include <cstdint>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define CHAINS 16
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#define CHAINS 12
#elif defined(__aarch64__)
#define VECTOR_BYTES 16
#define CHAINS 16
#else
#define VECTOR_BYTES 16
#define CHAINS 12
#endif

typedef float Vector __attribute__((vector_size(VECTOR_BYTES)));

// Returns the operations done; `result` is only there that no compiler leaves them out.
extern "C" int64_t multiply_add(int64_t times, float* result) {
    const Vector factor = Vector{} + *result, term = factor * factor;
    Vector sum[CHAINS];
    for (int chain = 0; chain < CHAINS; chain++) sum[chain] = term * float(chain);  // none alike
    for (int64_t i = 0; i < times; i++)
        for (int chain = 0; chain < CHAINS; chain++) sum[chain] = sum[chain] * factor + term;
    for (int chain = 1; chain < CHAINS; chain++) sum[0] += sum[chain];
    *result = sum[0][0];
    return 2 * times * CHAINS * int64_t(VECTOR_BYTES / sizeof(float));
}
