// The gated recurrences of a sweep layer, forward and backward, for the CPU.
//
// recurrence.py, beside this file, states the mathematics, compiles this file and checks all
// arrays. A row of y holds z, v and g of one patch, each for all directions; that of h and out one
// value for each direction. Along an axis of T steps, patches are (outer, T, inner); a call takes
// the inner ones from `from` to `end`, so that several threads share the work. Every loop goes
// through memory in order, and each patch's values stay in a cache for all that is done with them.

// GCC makes vectors of a comparison only where that cannot change what traps.
#pragma GCC optimize("no-trapping-math")

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#ifndef REAL
#define REAL float  // tests compile it with double as well
#endif

namespace {

using Real = REAL;
using Size = std::ptrdiff_t;

struct Way {
    int64_t outer, steps, inner, from, end;
    int64_t width, directions, direction, backwards;

    Size patch(Size o, Size t) const { return (o * steps + (backwards ? steps - 1 - t : t)) * inner; }
};

// e^x. For float32 2^n p(r), x = n ln 2 + r, p Cephes' polynomial: within two units in the last
// place. Loops over it become vectors, which a call of the library's would prevent. Beyond e^±43 no
// σ changes any more, and the product of two such numbers is still a number.
inline Real exponential(Real x) {
    if constexpr (std::is_same_v<Real, float>) {
        const float clipped = x < -43.f ? -43.f : x > 43.f ? 43.f : x;
        const float shifted = clipped * 1.44269504f + 12582912.f, n = shifted - 12582912.f;
        const float r = clipped - n * 0.693359375f + n * 2.12194440e-4f;
        float p = 1.9875691500e-4f;
        p = p * r + 1.3981999507e-3f;
        p = p * r + 8.3334519073e-3f;
        p = p * r + 4.1665795894e-2f;
        p = p * r + 1.6666665459e-1f;
        p = p * r + 5.0000001201e-1f;
        p = p * r * r + r + 1.f;
        const int32_t bits = (int32_t(n) + 127) << 23;
        float power;
        __builtin_memcpy(&power, &bits, sizeof power);
        return p * power;
    } else {
        return std::exp(x);
    }
}

// σ of two numbers, with one division.
inline void logistic(Real x, Real y, Real& of_x, Real& of_y) {
    const Real a = 1 + exponential(-x), b = 1 + exponential(-y), both = 1 / (a * b);
    of_x = b * both, of_y = a * both;
}

}  // namespace

extern "C" {

void recurrence_forward(const Way* way, const Real* y, Real* h, Real* out) {
    const Way& w = *way;
    const Size wide = w.directions * w.width, first = w.direction * w.width;
    for (Size o = 0; o < w.outer; o++)
        for (Size t = 0; t < w.steps; t++)
            for (Size i = w.from; i < w.end; i++) {
                const Size here = w.patch(o, t) + i, before = w.patch(o, t ? t - 1 : 0) + i;
                const Real* __restrict z = y + here * 3 * wide + first;
                const Real *__restrict v = z + wide, *__restrict g = v + wide;
                const Real* last = h + before * wide + first;
                Real *__restrict now = h + here * wide + first, *__restrict to = out + here * wide + first;
#pragma GCC ivdep
                for (Size k = 0; k < w.width; k++) {
                    Real open, gate;
                    logistic(z[k], g[k], open, gate);
                    const Real old = t ? last[k] : 0;
                    const Real value = old + open * (v[k] - old);
                    now[k] = value;
                    to[k] = value * g[k] * gate;
                }
            }
}

// carry: (threads' inner patches, width), of this call alone.
void recurrence_backward(const Way* way, const Real* y, const Real* h, const Real* d_out, Real* d_y,
                         Real* carry) {
    const Way& w = *way;
    const Size wide = w.directions * w.width, first = w.direction * w.width;
    for (Size o = 0; o < w.outer; o++)
        for (Size t = w.steps - 1; t >= 0; t--)
            for (Size i = w.from; i < w.end; i++) {
                const Size here = w.patch(o, t) + i, before = w.patch(o, t ? t - 1 : 0) + i;
                const Real* __restrict z = y + here * 3 * wide + first;
                const Real *__restrict v = z + wide, *__restrict g = v + wide;
                const Real *now = h + here * wide + first, *last = h + before * wide + first;
                const Real* __restrict d = d_out + here * wide + first;
                Real* __restrict d_z = d_y + here * 3 * wide + first;
                Real *__restrict d_v = d_z + wide, *__restrict d_g = d_v + wide;
                Real* __restrict later = carry + (i - w.from) * w.width;
                const bool is_last = t == w.steps - 1;
#pragma GCC ivdep
                for (Size k = 0; k < w.width; k++) {
                    Real open, gate;
                    logistic(z[k], g[k], open, gate);
                    const Real old = t ? last[k] : 0;
                    const Real total = d[k] * g[k] * gate + (is_last ? 0 : later[k]);
                    d_g[k] = d[k] * now[k] * gate * (1 + g[k] * (1 - gate));
                    d_v[k] = open * total;
                    d_z[k] = (v[k] - old) * total * open * (1 - open);
                    later[k] = (1 - open) * total;
                }
            }
}

}  // extern "C"
