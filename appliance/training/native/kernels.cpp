// The elementwise parts of a training step, each in one pass over memory. The matrix products stay with torch.
//
// Every function exists for bfloat16 (`_bf16`) and float32 (`_f32`), computes in float32, and runs on OpenMP threads over
// rows, so that its result does not depend on their number. appliance/training/kernels.py holds the same mathematics
// in torch, which is what the tests compare these with, and compiles this file where a compiler is at hand.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

struct bf16 {
    uint16_t bits;
};

inline float load(float value) { return value; }
inline float load(bf16 value) {
    uint32_t wide = uint32_t(value.bits) << 16;
    float out;
    std::memcpy(&out, &wide, 4);
    return out;
}
inline void store(float &to, float value) { to = value; }
inline void store(bf16 &to, float value) {  // to the nearest, ties to even
    uint32_t wide;
    std::memcpy(&wide, &value, 4);
    to.bits = uint16_t((wide + 0x7fff + ((wide >> 16) & 1)) >> 16);
}
template <typename T> inline float rounded(float value) {
    T narrow;
    store(narrow, value);
    return load(narrow);
}

// e^x within 2 units in the last place: 2^n times a polynomial on [-ln2/2, ln2/2] (Cephes, expf).
inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float n = std::floor(x * 1.44269504f + 0.5f);
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits = (int32_t(n) + 127) << 23;
    float power;
    std::memcpy(&power, &bits, 4);
    return p * power;
}

constexpr int LANES = 16;

template <typename T> inline float maximum(const T *x, long n) {
    float lanes[LANES];
    std::fill(lanes, lanes + LANES, -INFINITY);
    long at = 0;
    for (; at + LANES <= n; at += LANES)
        for (int lane = 0; lane < LANES; lane++) {
            float value = load(x[at + lane]);
            lanes[lane] = value > lanes[lane] ? value : lanes[lane];
        }
    float highest = -INFINITY;
    for (int lane = 0; lane < LANES; lane++) highest = lanes[lane] > highest ? lanes[lane] : highest;
    for (; at < n; at++) highest = std::max(highest, load(x[at]));
    return highest;
}

// h = w * round(x / rms(x)); r = 1 / rms(x). x, h [n, d]; w [d]; r [n].
template <typename T>
void rms_forward(const T *x, const T *w, T *h, float *r, long n, long d, float eps) {
#pragma omp parallel for schedule(static)
    for (long row = 0; row < n; row++) {
        const T *xs = x + row * d;
        T *hs = h + row * d;
        float sum = 0;
        for (long i = 0; i < d; i++) sum += load(xs[i]) * load(xs[i]);
        float inverse = 1.0f / std::sqrt(sum / float(d) + eps);
        r[row] = inverse;
        for (long i = 0; i < d; i++) store(hs[i], load(w[i]) * rounded<T>(load(xs[i]) * inverse));
    }
}

// dx += d(rms norm)/dx . dh; dx comes with the gradient along the residual path.
template <typename T>
void rms_backward(const T *dh, const T *x, const T *w, const float *r, T *dx, long n, long d) {
#pragma omp parallel for schedule(static)
    for (long row = 0; row < n; row++) {
        const T *gs = dh + row * d, *xs = x + row * d;
        T *out = dx + row * d;
        float dot = 0;
        for (long i = 0; i < d; i++) dot += load(gs[i]) * load(w[i]) * load(xs[i]);
        float inverse = r[row], pull = dot * inverse * inverse * inverse / float(d);
        for (long i = 0; i < d; i++)
            store(out[i], load(out[i]) + load(gs[i]) * load(w[i]) * inverse - load(xs[i]) * pull);
    }
}

// One head's vector turned by its position's angles (transformers' layout: first half with second half).
template <typename T>
inline void turn(const T *from, T *to, const float *cosine, const float *sine, float sign, long half) {
#pragma omp simd
    for (long i = 0; i < half; i++) {
        float a = load(from[i]), b = load(from[i + half]);
        store(to[i], a * cosine[i] - b * sine[i] * sign);
        store(to[i + half], b * cosine[i] + a * sine[i] * sign);
    }
}

// Where head `head` of token `at` of row `row` stands in [groups, rows, each, width, dim].
inline long place(long group, long row, long head, long at, long rows, long each, long width, long dim) {
    return (((group * rows + row) * each + head) * width + at) * dim;
}

// qkv [rows * width, (heads + 2 groups) * dim] -> turned q [groups, rows, each, width, dim], turned k and v
// [groups, rows, width, dim]. cosine, sine [positions, dim / 2]; a row's first token has position `first`.
template <typename T>
void split_heads(const T *qkv, T *q, T *k, T *v, const float *cosine, const float *sine, long rows, long width,
                 long groups, long each, long dim, long first) {
    long heads = groups * each, stride = (heads + 2 * groups) * dim, half = dim / 2;
#pragma omp parallel for schedule(static)
    for (long token = 0; token < rows * width; token++) {
        long row = token / width, at = token % width;
        const T *from = qkv + token * stride;
        const float *c = cosine + (first + at) * half, *s = sine + (first + at) * half;
        for (long head = 0; head < heads; head++)
            turn(from + head * dim, q + place(head / each, row, head % each, at, rows, each, width, dim), c, s, 1.0f,
                 half);
        for (long group = 0; group < groups; group++) {
            long to = place(group, row, 0, at, rows, 1, width, dim);
            turn(from + (heads + group) * dim, k + to, c, s, 1.0f, half);
            std::memcpy(v + to, from + (heads + groups + group) * dim, sizeof(T) * dim);
        }
    }
}

// The way back: gradients of q, k, v to that of qkv, turned the other way.
template <typename T>
void join_heads(const T *q, const T *k, const T *v, T *qkv, const float *cosine, const float *sine, long rows,
                long width, long groups, long each, long dim, long first) {
    long heads = groups * each, stride = (heads + 2 * groups) * dim, half = dim / 2;
#pragma omp parallel for schedule(static)
    for (long token = 0; token < rows * width; token++) {
        long row = token / width, at = token % width;
        T *to = qkv + token * stride;
        const float *c = cosine + (first + at) * half, *s = sine + (first + at) * half;
        for (long head = 0; head < heads; head++)
            turn(q + place(head / each, row, head % each, at, rows, each, width, dim), to + head * dim, c, s, -1.0f,
                 half);
        for (long group = 0; group < groups; group++) {
            long from = place(group, row, 0, at, rows, 1, width, dim);
            turn(k + from, to + (heads + group) * dim, c, s, -1.0f, half);
            std::memcpy(to + (heads + groups + group) * dim, v + from, sizeof(T) * dim);
        }
    }
}

// Softmax in place over a query's scores for the shared prefix [n, prefix] and, causally, for its own row [n, width];
// query number i looks at the first i % width + 1 of its own. scale is applied first.
template <typename T> void softmax_forward(T *shared, T *own, long n, long prefix, long width, float scale) {
#pragma omp parallel
    {
        std::vector<float> powers(prefix + width);
        float *p = powers.data(), *po = p + prefix;
#pragma omp for schedule(static)
        for (long query = 0; query < n; query++) {
            T *s = shared + query * prefix, *o = own + query * width;
            long seen = query % width + 1;
            float highest = std::max(maximum(s, prefix), maximum(o, seen)), sum = 0;
            for (long i = 0; i < prefix; i++) sum += p[i] = exponential((load(s[i]) - highest) * scale);
            for (long i = 0; i < seen; i++) sum += po[i] = exponential((load(o[i]) - highest) * scale);
            float inverse = 1.0f / sum;
            for (long i = 0; i < prefix; i++) store(s[i], p[i] * inverse);
            for (long i = 0; i < seen; i++) store(o[i], po[i] * inverse);
            for (long i = seen; i < width; i++) store(o[i], 0.0f);
        }
    }
}

// Gradients of the weights to gradients of the scores, in place: dS = scale * P * (dP - sum(P * dP)).
template <typename T>
void softmax_backward(const T *shared, const T *own, T *dshared, T *down, long n, long prefix, long width,
                      float scale) {
#pragma omp parallel for schedule(static)
    for (long query = 0; query < n; query++) {
        const T *s = shared + query * prefix, *o = own + query * width;
        T *ds = dshared + query * prefix, *d = down + query * width;
        float sum = 0;
        for (long i = 0; i < prefix; i++) sum += load(s[i]) * load(ds[i]);
        for (long i = 0; i < width; i++) sum += load(o[i]) * load(d[i]);
        for (long i = 0; i < prefix; i++) store(ds[i], scale * load(s[i]) * (load(ds[i]) - sum));
        for (long i = 0; i < width; i++) store(d[i], scale * load(o[i]) * (load(d[i]) - sum));
    }
}

// gate_up [n, 2 f]: act [n, f] = silu(gate) * up.
template <typename T> void swiglu_forward(const T *gate_up, T *act, long n, long f) {
#pragma omp parallel for schedule(static)
    for (long row = 0; row < n; row++) {
        const T *g = gate_up + row * 2 * f, *u = g + f;
        T *out = act + row * f;
        for (long i = 0; i < f; i++) {
            float gate = load(g[i]);
            store(out[i], gate / (1.0f + exponential(-gate)) * load(u[i]));
        }
    }
}

// gate_up becomes its own gradient.
template <typename T> void swiglu_backward(const T *dact, T *gate_up, long n, long f) {
#pragma omp parallel for schedule(static)
    for (long row = 0; row < n; row++) {
        T *g = gate_up + row * 2 * f, *u = g + f;
        const T *da = dact + row * f;
#pragma omp simd
        for (long i = 0; i < f; i++) {
            float gate = load(g[i]), up = load(u[i]), gradient = load(da[i]);
            float sigmoid = 1.0f / (1.0f + exponential(-gate));
            store(g[i], gradient * up * sigmoid * (1.0f + gate * (1.0f - sigmoid)));
            store(u[i], gradient * gate * sigmoid);
        }
    }
}

// losses[i] = -log softmax(logits[i])[targets[i]]; with scale > 0 the logits become scale * their gradient.
template <typename T>
void cross_entropy(T *logits, const int64_t *targets, float *losses, long n, long vocabulary, float scale) {
#pragma omp parallel for schedule(static)
    for (long row = 0; row < n; row++) {
        T *x = logits + row * vocabulary;
        if (targets[row] < 0) {  // no target
            losses[row] = 0;
            if (scale > 0) std::memset(x, 0, sizeof(T) * vocabulary);
            continue;
        }
        float highest = maximum(x, vocabulary), aimed = load(x[targets[row]]), sum = 0;
        for (long i = 0; i < vocabulary; i++) sum += exponential(load(x[i]) - highest);
        losses[row] = std::log(sum) + highest - aimed;
        if (scale > 0) {
            float share = scale / sum;
            for (long i = 0; i < vocabulary; i++) store(x[i], exponential(load(x[i]) - highest) * share);
            store(x[targets[row]], (std::exp(aimed - highest) / sum - 1.0f) * scale);
        }
    }
}

}  // namespace

#define EXPORT(T, suffix)                                                                                             \
    extern "C" void rms_forward_##suffix(const T *x, const T *w, T *h, float *r, long n, long d, float eps) {         \
        rms_forward(x, w, h, r, n, d, eps);                                                                           \
    }                                                                                                                 \
    extern "C" void rms_backward_##suffix(const T *dh, const T *x, const T *w, const float *r, T *dx, long n,         \
                                          long d) {                                                                   \
        rms_backward(dh, x, w, r, dx, n, d);                                                                          \
    }                                                                                                                 \
    extern "C" void split_heads_##suffix(const T *qkv, T *q, T *k, T *v, const float *c, const float *s, long rows,   \
                                         long width, long groups, long each, long dim, long first) {                  \
        split_heads(qkv, q, k, v, c, s, rows, width, groups, each, dim, first);                                       \
    }                                                                                                                 \
    extern "C" void join_heads_##suffix(const T *q, const T *k, const T *v, T *qkv, const float *c, const float *s,   \
                                        long rows, long width, long groups, long each, long dim, long first) {        \
        join_heads(q, k, v, qkv, c, s, rows, width, groups, each, dim, first);                                        \
    }                                                                                                                 \
    extern "C" void softmax_forward_##suffix(T *shared, T *own, long n, long prefix, long width, float scale) {       \
        softmax_forward(shared, own, n, prefix, width, scale);                                                        \
    }                                                                                                                 \
    extern "C" void softmax_backward_##suffix(const T *shared, const T *own, T *ds, T *d, long n, long prefix,        \
                                              long width, float scale) {                                              \
        softmax_backward(shared, own, ds, d, n, prefix, width, scale);                                                \
    }                                                                                                                 \
    extern "C" void swiglu_forward_##suffix(const T *gate_up, T *act, long n, long f) {                               \
        swiglu_forward(gate_up, act, n, f);                                                                           \
    }                                                                                                                 \
    extern "C" void swiglu_backward_##suffix(const T *dact, T *gate_up, long n, long f) {                             \
        swiglu_backward(dact, gate_up, n, f);                                                                         \
    }                                                                                                                 \
    extern "C" void cross_entropy_##suffix(T *logits, const int64_t *targets, float *losses, long n, long vocabulary, \
                                           float scale) {                                                             \
        cross_entropy(logits, targets, losses, n, vocabulary, scale);                                                 \
    }

EXPORT(bf16, bf16)
EXPORT(float, f32)
