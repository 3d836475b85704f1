// A training step of an LSTM with a head (forward, backward, update), and what such a network
// believes of images, for the CPU.
//
// This is by_hand.py, which stands beside it, in C++: the same notation, the same numbers in
// brackets. T time, B batch, F features, H hidden, K classes; x h c i f g o z W U b V d y p; d_q is
// the gradient of the loss with respect to q. compiled.py hands over all arrays and checks them.
// Weights and optimiser state keep torch's layout and change in place.
//
// Where the speed comes from:
// - Each thread takes a share of the batch through all layers and steps on its own. Gradients are
//   added in the order of the shares: the result depends on the number of threads, by rounding,
//   but never on their timing.
// - All large products go through `multiply`. A tile of the result stays in registers, and what it
//   reads is packed in strips that fit into the first-level cache.
// - z is ordered by units, LANES of them at a time: i of these units, then f, g, o. So the gates of
//   a unit are computed while its z is still in the cache. Units that fill up the last vector have
//   zero weights, hence zero c, h and d_z: any H will do, and no loop has a remainder.
// - One row of memory for each image and step holds 1, x and h[t'], so (7) is one product, bias
//   included.
//
// Vectors are an extension of GCC and Clang, which make AVX2, AVX-512 or NEON of it.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

#ifndef REAL
#define REAL float  // tests compile it with double as well
#endif

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

// An empty instruction. After it, GCC keeps v in a register; without, it reads v from memory again
// at each use, and multiply takes half as long again.
#if defined(__AVX512F__)
#define KEEP(v) asm("" : "+v"(v))
#elif defined(__x86_64__)
#define KEEP(v) asm("" : "+x"(v))
#elif defined(__aarch64__)
#define KEEP(v) asm("" : "+w"(v))
#else
#define KEEP(v)
#endif

#define INLINE inline __attribute__((always_inline))

namespace {

using Real = REAL;
using Size = std::ptrdiff_t;
typedef Real Vector __attribute__((vector_size(VECTOR_BYTES)));
typedef Vector Unaligned __attribute__((aligned(alignof(Real)), may_alias));

constexpr Size LANES = VECTOR_BYTES / sizeof(Real);
constexpr Size ROWS = 6;
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr Size COLUMNS = 4;  // 6 x 4 vectors of results leave 8 of 32 registers for factors
#else
constexpr Size COLUMNS = 2;  // 6 x 2 leave 4 of 16
#endif
constexpr Size STRIP = COLUMNS * LANES;
constexpr Size DEPTH = VECTOR_BYTES == 64 ? 128 : 256;  // rows of a strip that fill half a cache

INLINE Vector load(const Real* from) { return *reinterpret_cast<const Unaligned*>(from); }
INLINE void store(Real* to, Vector v) { *reinterpret_cast<Unaligned*>(to) = v; }

// Zeros that begin at a cache line.
class Array {
    struct alignas(64) Line {
        Real values[64 / sizeof(Real)];
    };
    std::vector<Line> lines;

public:
    void make(Size n) { lines.assign((n * sizeof(Real) + 63) / 64, Line{}); }
    Real* at(Size i) { return reinterpret_cast<Real*>(lines.data()) + i; }
    const Real* at(Size i) const { return reinterpret_cast<const Real*>(lines.data()) + i; }
};

// --- Matrix products ----------------------------------------------------------------------------

// The left factor: element (r, k) is at[r row + k next + (k / run) leap].
struct Left {
    const Real* at;
    Size row, next, run, leap;
};
Left plain(const Real* at, Size row, Size next) { return {at, row, next, DEPTH, 0}; }
Left strips(const Real* at, Size leap) { return {at, STRIP, 1, STRIP, leap - STRIP}; }

// R rows and C vectors of a product, which stay in registers until all n terms are in.
template <int R, int C>
void tile(Left a, const Real* b, Size n, Real* out, Size out_row, bool add) {
    Vector sum[R][C];
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++)
            sum[r][c] = add ? load(out + r * out_row + c * LANES) : Vector{};
    for (Size k = n, run = a.run; k > 0; k--, a.at += a.next, b += C * LANES) {
        Vector right[C];
        for (int c = 0; c < C; c++) {
            right[c] = load(b + c * LANES);
            KEEP(right[c]);
        }
        for (int r = 0; r < R; r++)
            for (int c = 0; c < C; c++) sum[r][c] += a.at[r * a.row] * right[c];
        if (--run == 0) run = a.run, a.at += a.leap;
    }
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++) store(out + r * out_row + c * LANES, sum[r][c]);
}

// All rows, in tiles as even as can be: a tile of few rows would wait for its own sums.
template <int C>
void tiles(Size rows, Left a, const Real* b, Size n, Real* out, Size out_row, bool add) {
    static constexpr decltype(&tile<1, C>) of[ROWS] = {tile<1, C>, tile<2, C>, tile<3, C>,
                                                       tile<4, C>, tile<5, C>, tile<6, C>};
    for (Size left = (rows + ROWS - 1) / ROWS; left > 0; left--) {
        const Size some = rows / left;
        of[some - 1](a, b, n, out, out_row, add);
        a.at += some * a.row, out += some * out_row, rows -= some;
    }
}

// The first vector of strip s of a packed matrix. Strips have at most COLUMNS vectors, all about
// as many.
Size strip(Size vectors, Size s) { return vectors * s / ((vectors + COLUMNS - 1) / COLUMNS); }

// out = a b, or out += a b. b is packed: strip after strip, each of `depth` rows; n of them count.
void multiply(Size rows, Size vectors, Size n, Left a, const Real* b, Size depth, Real* out,
              Size out_row, bool add = false) {
    static constexpr decltype(&tiles<1>) of[] = {tiles<1>, tiles<2>, tiles<3>, tiles<4>};
    for (Size k = 0; k < n; k += DEPTH, a.at += DEPTH * a.next + DEPTH / a.run * a.leap, add = true)
        for (Size s = 0, first = 0, last; first < vectors; s++, first = last) {
            last = strip(vectors, s + 1);
            of[last - first - 1](rows, a, b + (depth * first + k * (last - first)) * LANES,
                                 std::min(DEPTH, n - k), out + first * LANES, out_row, add);
        }
}

// Puts n values into row k of a packed matrix.
void pack_row(Real* to, const Real* from, Size k, Size depth, Size vectors, Size n) {
    for (Size s = 0, first = 0, last; first < vectors; s++, first = last) {
        last = strip(vectors, s + 1);
        std::copy_n(from + first * LANES, std::min(n - first * LANES, (last - first) * LANES),
                    to + (depth * first + k * (last - first)) * LANES);
    }
}

// --- Functions of a vector ----------------------------------------------------------------------

// e^x = two (1 + q), where two is a power of two. |q| < 0.42, and q keeps its digits near zero.
INLINE void exponential(Vector x, Vector& two, Vector& q) {
    constexpr bool DOUBLE = sizeof(Real) == 8;
    using Bits = std::conditional_t<DOUBLE, uint64_t, uint32_t>;
    typedef Bits BitsOfVector __attribute__((vector_size(VECTOR_BYTES)));
    constexpr int MANTISSA = DOUBLE ? 52 : 23, TERMS = DOUBLE ? 13 : 7;
    constexpr Bits ONE = Bits(DOUBLE ? 1023 : 127) << MANTISSA;
    // A number plus this is rounded to an integer, which then stands in the lowest bits.
    constexpr Real ROUND = Real(Bits(3) << (MANTISSA - 1));
    const Vector limit = Vector{} + Real(DOUBLE ? 708 : 87);
    x = x > limit ? limit : x;  // a NaN stays one
    x = x < -limit ? -limit : x;
    Vector rounded = x * Real(1.44269504088896340736) + ROUND;
    two = (Vector)(((BitsOfVector)rounded << MANTISSA) + ONE);
    // One number for ln 2 is enough: where its error counts, many times over, e^x is so large or
    // so small that no gate can tell.
    Vector r = x - (rounded - ROUND) * Real(0.69314718055994530942);
    // q = r + r²/2! + ...: |r| is at most ln(2)/2, and the first term left out is below rounding.
    // By pairs of terms, since one chain of all of them would take too long.
    Real factorial[TERMS + 1] = {1};
    for (int k = 1; k <= TERMS; k++) factorial[k] = factorial[k - 1] * k;
    auto pair = [&](int k) { return 1 / factorial[k] + r * (1 / factorial[k + 1]); };
    Vector square = r * r, sum = pair(TERMS - 1);
    for (int k = TERMS - 3; k > 0; k -= 2) sum = sum * square + pair(k);
    q = sum * square + r;
}

INLINE Vector logistic(Vector z) {
    Vector two, q;
    exponential(-z, two, q);
    return 1 / (1 + two + two * q);
}

INLINE Vector hyperbolic_tangent(Vector z) {
    Vector two, q;
    exponential(z + z, two, q);
    Vector less_one = two * q + (two - 1);  // e^2z - 1
    return less_one / (less_one + 2);
}

// --- What compiled.py hands over ----------------------------------------------------------------

enum Rule : int64_t { ADAM, ADADELTA, SGD };

struct Sizes {
    int64_t time, features, hidden, layers, classes, threads, rule;
};

// Weights, the optimiser's memory of them (Adam: m, v; Adadelta: mean g², mean step²) and its count
// of steps. In the order W, U, b, b' of each layer, then V, d. torch has two biases: they are
// added, and each takes a step.
struct Parameter {
    Real *weights, *first, *second, *steps;
    int64_t trained;
};

// --- Forward and backward -----------------------------------------------------------------------

struct Layer {
    const Parameter *W, *U, *b, *b2;
    Size inputs;  // F, or H of the layer below
    Size width;   // of a row [1, x, h[t']]
    Size stride;  // from row to row
};

// A copy of the weights in the layout of `multiply`.
struct Packed {
    struct OfLayer {
        Array forward;     // [b W U]ᵀ
        Array to_h, to_x;  // U and W
    };
    std::vector<OfLayer> layers;
    Array V;  // as it is, rows filled up with zeros
};

// A share of a batch: what forward leaves for backward, by step and image, and the gradients.
struct Share {
    struct OfLayer {
        Array rows;       // [1, x, h[t']]
        Array z;          // in strips; i f g o take the place of z, and d_z theirs
        Array c, tanh_c;  // c[t'] stands at t
        Array d_out;      // what comes to d_h from the layer above
        Array d_weights;  // of [b W U]ᵀ, in strips
    };
    std::vector<OfLayer> layers;
    Array d_h, d_c;  // of one step
    Array d_V, d_d;
    std::vector<int64_t> images;
    Size room = 0;
    double loss = 0;
    int64_t correct = 0;
};

class Network {
public:
    const Size T, F, H, K, vectors, padded;  // padded: H filled up to vectors
    const uint8_t* sequences = nullptr;      // images in reading order, T F bytes each
    const int64_t* labels = nullptr;
    std::vector<Parameter> parameters;

    Network(const Sizes& sizes, const Real* levels);
    void reserve(Share& s, Size batch) const;
    void make(Packed& w) const;
    void pack(Packed& w, Size from, Size end) const;
    void gradients(Share& s, const Packed& w, double scale) const;
    void belief(Share& s, const Packed& w, const uint8_t* images, Size n, Real* out) const;
    void begin_update(double learning_rate);
    void update(const std::vector<Share>& shares, Size parts, Size from, Size end) const;

private:
    struct Rate {
        Real rate, root;
    };
    const int64_t rule;
    const std::vector<Real> levels;  // what the network sees of a pixel, by its byte
    std::vector<Layer> layers;
    std::vector<Rate> rates;  // of this step, by parameter

    // Where row `row` of W, U and b, which is a unit of a gate, stands among the columns of z.
    Size column(Size row) const {
        const Size gate = row / H, unit = row % H;
        return unit / LANES * 4 * LANES + gate * LANES + unit % LANES;
    }
    // The z of a gate of LANES units at a step, STRIP from image to image.
    Real* gate(Share& s, Size l, Size t, Size units, Size which) const {
        const Size column = (4 * units + which) * LANES, batch = s.images.size();
        return s.layers[l].z.at((column / STRIP * T + t) * batch * STRIP + column % STRIP);
    }
    bool is_top(Size l) const { return l + 1 == Size(layers.size()); }
    void gather(Share& s, const uint8_t* from) const;
    // h of step t, `stride` from image to image.
    const Real* output(const Share& s, Size t) const {
        const Layer& top = layers.back();
        return s.layers.back().rows.at((t + 1) * Size(s.images.size()) * top.stride + 1 +
                                       top.inputs);
    }
    Real answer(const Packed& w, const Real* h, Real* y, Real* p) const;
    void forward(Share& s, const Packed& w, Size l) const;
    void gates_forward(Share& s, Size l, Size t, Size units) const;
    void head(Share& s, const Packed& w, double scale) const;
    void backward(Share& s, const Packed& w, Size l) const;
    void gates_backward(Share& s, Size l, Size t, Size units) const;
    void apply(const Parameter* p, const Real* d_w, Size from, Size n) const;
};

Network::Network(const Sizes& sizes, const Real* levels)
    : T(sizes.time),
      F(sizes.features),
      H(sizes.hidden),
      K(sizes.classes),
      vectors((H + LANES - 1) / LANES),
      padded(vectors * LANES),
      parameters(4 * sizes.layers + 2),
      rule(sizes.rule),
      levels(levels, levels + 256),
      rates(parameters.size()) {
    Size inputs = F;
    for (const Parameter* p = parameters.data(); Size(layers.size()) < sizes.layers; p += 4) {
        // An odd number of vectors: rows that are a power of two apart share few places in a cache.
        const Size stride = (((inputs + padded) / LANES + 1) | 1) * LANES;
        layers.push_back({p, p + 1, p + 2, p + 3, inputs, 1 + inputs + H, stride});
        inputs = H;
    }
}

void Network::reserve(Share& s, Size batch) const {
    if (batch <= s.room) return;
    s.room = batch;
    s.layers.resize(layers.size());
    for (Size l = 0; l < Size(layers.size()); l++) {
        Share::OfLayer& own = s.layers[l];
        own.rows.make((T + 1) * batch * layers[l].stride);
        for (Size r = 0; r < (T + 1) * batch; r++) *own.rows.at(r * layers[l].stride) = 1;
        own.z.make(T * batch * 4 * padded);
        own.c.make((T + 1) * batch * padded);
        own.tanh_c.make(T * batch * padded);
        if (!is_top(l)) own.d_out.make(T * batch * padded);
        own.d_weights.make(layers[l].width * 4 * padded);
    }
    s.d_h.make(batch * padded);
    s.d_c.make(batch * padded);
}

void Network::make(Packed& w) const {
    w.layers.resize(layers.size());
    for (Size l = 0; l < Size(layers.size()); l++) {
        w.layers[l].forward.make(layers[l].width * 4 * padded);
        w.layers[l].to_h.make(4 * padded * padded);
        if (l > 0) w.layers[l].to_x.make(4 * padded * padded);
    }
    w.V.make(K * padded);
}

// Rows `from` to `end` of W, U and b of each layer; with the first of them, the head.
void Network::pack(Packed& w, Size from, Size end) const {
    for (Size l = 0; l < Size(layers.size()); l++) {
        const auto& [W, U, b, b2, inputs, width, stride] = layers[l];
        for (Size row = from; row < end; row++) {
            const Size at = column(row);
            const Real *W_row = W->weights + row * inputs, *U_row = U->weights + row * H;
            Real* to = w.layers[l].forward.at(at / STRIP * width * STRIP + at % STRIP);
            *to = b->weights[row] + b2->weights[row];
            for (Size k = 0; k < inputs; k++) *(to += STRIP) = W_row[k];
            for (Size k = 0; k < H; k++) *(to += STRIP) = U_row[k];
            pack_row(w.layers[l].to_h.at(0), U_row, at, 4 * padded, vectors, H);
            if (l > 0) pack_row(w.layers[l].to_x.at(0), W_row, at, 4 * padded, vectors, H);
        }
    }
    const Real* V = parameters.end()[-2].weights;
    for (Size k = 0; from == 0 && k < K; k++) std::copy_n(V + k * H, H, w.V.at(k * padded));
}

// Loss and gradients of a share; `scale` is 1 / B of the whole batch.
void Network::gradients(Share& s, const Packed& w, double scale) const {
    gather(s, sequences);
    for (Size l = 0; l < Size(layers.size()); l++) forward(s, w, l);
    head(s, w, scale);
    for (Size l = layers.size() - 1; l >= 0; l--) backward(s, w, l);
}

// The probabilities after each step for n images: out is (n, T, K).
void Network::belief(Share& s, const Packed& w, const uint8_t* images, Size n, Real* out) const {
    std::vector<Real> y(K);
    for (Size done = 0, B; done < n; done += B) {
        s.images.resize(B = std::min(n - done, Size(32)));
        std::iota(s.images.begin(), s.images.end(), done);
        reserve(s, B);
        gather(s, images);
        for (Size l = 0; l < Size(layers.size()); l++) forward(s, w, l);
        for (Size r = 0; r < B; r++)
            for (Size t = 0; t < T; t++, out += K)
                answer(w, output(s, t) + r * layers.back().stride, y.data(), out);
    }
}

// x of the first layer
void Network::gather(Share& s, const uint8_t* from) const {
    const Size stride = layers[0].stride, B = s.images.size();
    for (Size r = 0; r < B; r++) {
        const uint8_t* pixel = from + s.images[r] * T * F;
        for (Size t = 0; t < T; t++) {
            Real* x = s.layers[0].rows.at((t * B + r) * stride + 1);
            for (Size f = 0; f < F; f++) x[f] = levels[*pixel++];
        }
    }
}

void Network::forward(Share& s, const Packed& w, Size l) const {
    const auto& [W, U, b, b2, inputs, width, stride] = layers[l];
    const Size B = s.images.size();
    std::fill_n(s.layers[l].c.at(0), B * padded, 0);
    for (Size r = 0; r < B; r++) std::fill_n(s.layers[l].rows.at(r * stride + 1 + inputs), H, 0);
    for (Size t = 0; t < T; t++) {
        const Left rows = plain(s.layers[l].rows.at(t * B * stride), stride, 1);
        for (Size units = 0; units < vectors; units++) {
            for (Size which = 0; which < 4; which += COLUMNS)  // (7); at first h is zero
                multiply(B, COLUMNS, t > 0 ? width : 1 + inputs, rows,
                         w.layers[l].forward.at((4 * units + which) * LANES * width), width,
                         gate(s, l, t, units, which), STRIP);
            gates_forward(s, l, t, units);
        }
    }
}

void Network::gates_forward(Share& s, Size l, Size t, Size units) const {
    Share::OfLayer& own = s.layers[l];
    const Size B = s.images.size(), stride = layers[l].stride;
    const Size above = is_top(l) ? 0 : layers[l + 1].stride;
    Real *i = gate(s, l, t, units, 0), *f = gate(s, l, t, units, 1);
    Real *g = gate(s, l, t, units, 2), *o = gate(s, l, t, units, 3);
    // Two loops: in one, the processor would wait for the tanh of (8) before that of (10).
    for (Size r = 0; r < B * STRIP; r += STRIP) {  // (8)
        store(i + r, logistic(load(i + r))), store(f + r, logistic(load(f + r)));
        store(g + r, hyperbolic_tangent(load(g + r))), store(o + r, logistic(load(o + r)));
    }
    Real* c = own.c.at(t * B * padded + units * LANES);
    Real* tanh_c = own.tanh_c.at(t * B * padded + units * LANES);
    Real* h = own.rows.at((t + 1) * B * stride + 1 + layers[l].inputs + units * LANES);
    Real* x = above ? s.layers[l + 1].rows.at(t * B * above + 1 + units * LANES) : nullptr;
    for (Size r = 0; r < B; r++, c += padded, tanh_c += padded, h += stride, x += above) {
        const Size at = r * STRIP;
        Vector cell = load(f + at) * load(c) + load(i + at) * load(g + at);  // (9)
        Vector tanh_cell = hyperbolic_tangent(cell);
        Vector out = load(o + at) * tanh_cell;  // (10)
        store(c + B * padded, cell), store(tanh_c, tanh_cell), store(h, out);
        if (above) store(x, out);
    }
}

// (11) and (1) of one image. Returns log Σ exp(y).
Real Network::answer(const Packed& w, const Real* h, Real* y, Real* p) const {
    const Real *V = w.V.at(0), *d = parameters.back().weights;
    for (Size k = 0; k < K; k++, V += padded) {
        Vector sum = {};
        for (Size u = 0; u < padded; u += LANES) sum += load(h + u) * load(V + u);
        y[k] = d[k];
        for (Size lane = 0; lane < LANES; lane++) y[k] += sum[lane];
    }
    const Real largest = *std::max_element(y, y + K);
    Real total = 0;
    for (Size k = 0; k < K; k++) total += p[k] = std::exp(y[k] - largest);
    for (Size k = 0; k < K; k++) p[k] /= total;
    return largest + std::log(total);
}

// (11), (1), (2), of the last h, and back: d_h, d_V, d_d
void Network::head(Share& s, const Packed& w, double scale) const {
    const Size B = s.images.size();
    const Real* h = output(s, T - 1);
    s.loss = 0, s.correct = 0;
    s.d_V.make(K * padded), s.d_d.make(K);
    std::fill_n(s.d_h.at(0), B * padded, 0);
    Real *d_h = s.d_h.at(0), *d_d = s.d_d.at(0);
    std::vector<Real> y(K), p(K);
    for (Size r = 0; r < B; r++, h += layers.back().stride, d_h += padded) {
        const Size label = labels[s.images[r]];
        s.loss += (answer(w, h, y.data(), p.data()) - y[label]) * scale;  // (2)
        s.correct += std::max_element(y.begin(), y.end()) - y.begin() == label;
        const Real* V = w.V.at(0);
        Real* d_V = s.d_V.at(0);
        for (Size k = 0; k < K; k++, V += padded, d_V += padded) {
            const Real d_y = Real((p[k] - (k == label)) * scale);  // (2)
            d_d[k] += d_y;                                         // (11)
            for (Size u = 0; u < padded; u += LANES) {
                store(d_V + u, load(d_V + u) + d_y * load(h + u));
                store(d_h + u, load(d_h + u) + d_y * load(V + u));
            }
        }
    }
}

void Network::backward(Share& s, const Packed& w, Size l) const {
    const auto& [W, U, b, b2, inputs, width, stride] = layers[l];
    Share::OfLayer& own = s.layers[l];
    const Size B = s.images.size();
    const Size together = std::max(Size(1), 128 / B);  // steps whose rows fit a first-level cache
    std::fill_n(s.d_c.at(0), B * padded, 0);
    if (!is_top(l)) std::fill_n(s.d_h.at(0), B * padded, 0);
    for (Size t = T - 1, end = T; t >= 0; t--) {
        for (Size units = 0; units < vectors; units++) gates_backward(s, l, t, units);
        const Left d_z = strips(own.z.at(t * B * STRIP), T * B * STRIP);
        if (t > 0)  // (7): d_h
            multiply(B, vectors, 4 * padded, d_z, w.layers[l].to_h.at(0), 4 * padded, s.d_h.at(0),
                     padded);
        if (l > 0)  // (7): d_x
            multiply(B, vectors, 4 * padded, d_z, w.layers[l].to_x.at(0), 4 * padded,
                     s.layers[l - 1].d_out.at(t * B * padded), padded);
        if (t > 0 && end - t < together) continue;
        for (Size j = 0; j < 4 * vectors / COLUMNS; j++)  // (7): d_b, d_W, d_U
            multiply(width, COLUMNS, (end - t) * B, plain(own.rows.at(t * B * stride), 1, stride),
                     own.z.at((j * T + t) * B * STRIP), (end - t) * B,
                     own.d_weights.at(j * width * STRIP), STRIP, end < T);
        end = t;
    }
}

void Network::gates_backward(Share& s, Size l, Size t, Size units) const {
    Share::OfLayer& own = s.layers[l];
    const Size B = s.images.size(), first = t * B * padded + units * LANES;
    Real *i_z = gate(s, l, t, units, 0), *f_z = gate(s, l, t, units, 1);
    Real *g_z = gate(s, l, t, units, 2), *o_z = gate(s, l, t, units, 3);
    const Real *c = own.c.at(first), *tanh_c = own.tanh_c.at(first);
    const Real* d_out = is_top(l) ? nullptr : own.d_out.at(first);
    Real *d_h = s.d_h.at(units * LANES), *d_c = s.d_c.at(units * LANES);
    for (Size r = 0, at = 0; r < B * padded; r += padded, at += STRIP) {
        Vector i = load(i_z + at), f = load(f_z + at), g = load(g_z + at), o = load(o_z + at);
        Vector d_out_t = load(d_h + r), tanh_cell = load(tanh_c + r);
        if (d_out) d_out_t += load(d_out + r);
        Vector d_cell = load(d_c + r) + d_out_t * o * (1 - tanh_cell * tanh_cell);  // (10)
        store(i_z + at, d_cell * g * (i * (1 - i)));                                // (9), (8)
        store(f_z + at, d_cell * load(c + r) * (f * (1 - f)));
        store(g_z + at, d_cell * i * (1 - g * g));
        store(o_z + at, d_out_t * tanh_cell * (o * (1 - o)));  // (10), (8)
        store(d_c + r, d_cell * f);
    }
}

// --- Update -------------------------------------------------------------------------------------

void Network::begin_update(double learning_rate) {
    for (size_t i = 0; i < parameters.size(); i++) {
        rates[i] = {Real(learning_rate), 1};
        if (rule == SGD || !parameters[i].trained) continue;
        const double steps = *parameters[i].steps += 1;
        if (rule == ADAM)
            rates[i] = {Real(learning_rate / (1 - std::pow(0.9, steps))),
                        Real(std::sqrt(1 - std::pow(0.999, steps)))};
    }
}

// One step of some weights against their gradient, as torch.optim takes it. 1 - decay is computed
// in double: 1 - 0.999f is wrong in its fifth digit.
void Network::apply(const Parameter* p, const Real* d_w, Size from, Size n) const {
    if (!p->trained) return;
    const auto [rate, root] = rates[p - parameters.data()];
    const Real* __restrict g = d_w;
    Real* __restrict w = p->weights + from;
    Real* __restrict m = p->first + from;
    Real* __restrict v = p->second + from;
    if (rule == ADAM)
        for (Size i = 0; i < n; i++) {
            m[i] += Real(1 - 0.9) * (g[i] - m[i]);
            v[i] = Real(0.999) * v[i] + Real(1 - 0.999) * (g[i] * g[i]);
            w[i] -= rate * (m[i] / (std::sqrt(v[i]) / root + Real(1e-8)));
        }
    else if (rule == ADADELTA)
        for (Size i = 0; i < n; i++) {
            m[i] = Real(0.9) * m[i] + Real(1 - 0.9) * (g[i] * g[i]);
            const Real step = std::sqrt(v[i] + Real(1e-6)) / std::sqrt(m[i] + Real(1e-6)) * g[i];
            v[i] = Real(0.9) * v[i] + Real(1 - 0.9) * (step * step);
            w[i] -= rate * step;
        }
    else
        for (Size i = 0; i < n; i++) w[i] -= rate * g[i];
}

// Rows `from` to `end` of W, U and b of each layer; with the first of them, the head.
void Network::update(const std::vector<Share>& shares, Size parts, Size from, Size end) const {
    std::vector<Real> g, d_b(end - from);
    for (Size l = 0; l < Size(layers.size()); l++) {
        const auto& [W, U, b, b2, inputs, width, stride] = layers[l];
        for (Size row = from; row < end; row++) {
            const Size at = column(row);
            g.assign(width, 0);
            for (Size part = 0; part < parts; part++) {
                const Real* d =
                    shares[part].layers[l].d_weights.at(at / STRIP * width * STRIP + at % STRIP);
                for (Size k = 0; k < width; k++, d += STRIP) g[k] += *d;
            }
            d_b[row - from] = g[0];
            apply(W, &g[1], row * inputs, inputs);
            apply(U, &g[1 + inputs], row * H, H);
        }
        apply(b, d_b.data(), from, end - from);
        apply(b2, d_b.data(), from, end - from);
    }
    if (from > 0) return;
    std::vector<Real> d_V(K * padded), d_d(K);
    for (Size part = 0; part < parts; part++)
        for (Size k = 0; k < K; k++) {
            d_d[k] += *shares[part].d_d.at(k);
            for (Size u = 0; u < H; u++) d_V[k * H + u] += *shares[part].d_V.at(k * padded + u);
        }
    apply(&parameters.end()[-2], d_V.data(), 0, K * H);
    apply(&parameters.back(), d_d.data(), 0, K);
}

// --- Threads ------------------------------------------------------------------------------------

// A thread that does one piece of work at a time for its caller. What it has not begun when the
// caller is ready to wait for it, the caller does. Both wait awake for some microseconds: alone on
// the machine, that is long enough. Then they sleep: where other programs want the processor, a
// thread that waits awake takes it from the one that it waits for.
class Helper {
public:
    Helper() : thread([this] { run(); }) {}
    ~Helper() {
        set(END);
        thread.join();
    }
    void post(std::function<void()> piece) {
        work = std::move(piece);
        set(POSTED);
    }
    // Sees the work done: here, if the helper has not begun.
    void finish() {
        int posted = POSTED;
        if (state.compare_exchange_strong(posted, FREE))
            work();
        else
            await([this] { return state.load() == FREE; });
    }

private:
    enum { FREE, POSTED, RUNNING, END };
    std::atomic<int> state{FREE};
    std::function<void()> work;
    std::mutex mutex;
    std::condition_variable changed;
    std::thread thread;

    void set(int value) {
        std::lock_guard<std::mutex> lock(mutex);
        state.store(value);
        changed.notify_all();
    }
    template <class Ready>
    void await(Ready ready) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(50);
        while (std::chrono::steady_clock::now() < end)
            if (ready()) return;
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, ready);
    }
    void run() {
        for (;;) {
            await([this] { return state.load() == POSTED || state.load() == END; });
            if (state.load() == END) return;
            int posted = POSTED;
            if (!state.compare_exchange_strong(posted, RUNNING)) continue;
            work();
            set(FREE);
        }
    }
};

struct Training {
    Network network;
    Packed packed;
    std::vector<Share> shares;
    std::vector<std::unique_ptr<Helper>> helpers;
    int64_t images = 0;

    Training(const Sizes& sizes, const Real* levels)
        : network(sizes, levels), shares(std::min(sizes.threads, 4 * sizes.hidden)) {
        network.make(packed);
        try {
            while (helpers.size() + 1 < shares.size())
                helpers.push_back(std::make_unique<Helper>());
        } catch (const std::system_error&) {  // no more threads: this one does what is left
        }
    }

    // work(part) for each part; returns when all is done.
    template <class Work>
    void together(Size parts, Work work) {
        const Size helped = std::min<Size>(parts - 1, helpers.size());
        for (Size i = 0; i < helped; i++) helpers[i]->post([&work, i] { work(i + 1); });
        work(0);
        for (Size part = helped + 1; part < parts; part++) work(part);
        for (Size i = 0; i < helped; i++) helpers[i]->finish();
    }

    // The first row of W, U and b that is a part's to pack and to update.
    Size first(Size part) const { return 4 * network.H * part / Size(shares.size()); }
    void pack() {
        together(shares.size(),
                 [&](Size part) { network.pack(packed, first(part), first(part + 1)); });
    }

    void step(const int64_t* batch, Size n, double rate, double* loss, int64_t* correct) {
        const Size parts = std::min<Size>(shares.size(), n);
        pack();
        for (Size part = 0; part < parts; part++) {
            shares[part].images.assign(batch + n * part / parts, batch + n * (part + 1) / parts);
            network.reserve(shares[part], shares[part].images.size());
        }
        together(parts, [&](Size part) { network.gradients(shares[part], packed, 1.0 / n); });
        network.begin_update(rate);
        together(shares.size(),
                 [&](Size part) { network.update(shares, parts, first(part), first(part + 1)); });
        *loss = 0, *correct = 0;
        for (Size part = 0; part < parts; part++)
            *loss += shares[part].loss, *correct += shares[part].correct;
    }

    void belief(const uint8_t* sequences, Size n, Real* out) {
        const Size parts = std::min<Size>(shares.size(), (n + 31) / 32);
        const Size T = network.T, bytes = network.T * network.F, classes = network.K;
        pack();
        together(parts, [&](Size part) {
            const Size from = n * part / parts, end = n * (part + 1) / parts;
            network.belief(shares[part], packed, sequences + from * bytes, end - from,
                           out + from * T * classes);
        });
    }
};

}  // namespace

// --- For ctypes ---------------------------------------------------------------------------------

extern "C" {

Training* lstm_make(const Sizes* sizes, const Real* levels) { return new Training(*sizes, levels); }

void lstm_free(Training* training) { delete training; }

void lstm_bind(Training* training, const Parameter* parameters) {
    std::vector<Parameter>& own = training->network.parameters;
    std::copy_n(parameters, own.size(), own.begin());
}

void lstm_load(Training* training, const uint8_t* sequences, const int64_t* labels,
               int64_t images) {
    training->network.sequences = sequences;
    training->network.labels = labels;
    training->images = images;
}

void lstm_belief(Training* training, const uint8_t* sequences, int64_t n, Real* out) {
    training->belief(sequences, n, out);
}

// Returns whether all images of the batch are there; if not, nothing was done.
bool lstm_step(Training* training, const int64_t* batch, int64_t n, double learning_rate,
               double* loss, int64_t* correct) {
    if (!std::all_of(batch, batch + n, [=](int64_t i) { return 0 <= i && i < training->images; }))
        return false;
    training->step(batch, n, learning_rate, loss, correct);
    return true;
}
}
