// convert/compensated.py's choose_levels, some rows at a time: the same sums in another order.

#include <cmath>
#include <cstdint>
#include <vector>

namespace {

constexpr long ROWS = 32;     // taken together: two or four vectors
constexpr long TOGETHER = 32; // columns whose errors reach the rest in one go
constexpr long SIDE = 4;      // columns that take them side by side, so that an error is loaded once for four
constexpr long BLOCK = 32;    // weights with a common scale

struct Matrix {
    const float *rows, *taken, *scales, *minima, *reciprocals, *values;
    const int64_t *order;
    long count, columns, levels;
    bool even;
};

// What the errors of columns [begin, end) leave of those after them.
void pass_on(const Matrix &m, const float *errors, long begin, long end, float *left) {
    long at = end;
    for (; at + SIDE <= m.columns; at += SIDE) {
        float sum[SIDE][ROWS] = {};
        for (long j = begin; j < end; ++j) {
            const float *error = errors + (j - begin) * ROWS;
            for (long s = 0; s < SIDE; ++s) {
                const float part = m.taken[(at + s) * m.columns + j];
                for (long r = 0; r < ROWS; ++r) sum[s][r] += part * error[r];
            }
        }
        for (long s = 0; s < SIDE; ++s)
            for (long r = 0; r < ROWS; ++r) left[(at + s) * ROWS + r] -= sum[s][r];
    }
    for (; at < m.columns; ++at)
        for (long j = begin; j < end; ++j) {
            const float part = m.taken[at * m.columns + j];
            for (long r = 0; r < ROWS; ++r) left[at * ROWS + r] -= part * errors[(j - begin) * ROWS + r];
        }
}

// The level of each of a column's weights, and the value that it stands for in units of the scale.
void nearest(const Matrix &m, const float *given, float *level, float *value) {
    if (m.even) {
        const float first = m.values[0], last = m.values[m.levels - 1];
        for (long r = 0; r < ROWS; ++r) {
            float whole = nearbyintf(given[r]);
            whole = whole < first ? first : whole > last ? last : whole;
            value[r] = whole;
            level[r] = whole - first;
        }
        return;
    }
    for (long r = 0; r < ROWS; ++r) {
        level[r] = 0.0f;
        value[r] = m.values[0];
    }
    for (long n = 1; n < m.levels; ++n) {
        const float between = (m.values[n] + m.values[n - 1]) / 2, here = m.values[n];
        for (long r = 0; r < ROWS; ++r) {
            const bool above = given[r] > between;
            level[r] = above ? static_cast<float>(n) : level[r];
            value[r] = above ? here : value[r];
        }
    }
}

} // namespace

// rows [count, columns]; taken [columns, columns]; scales, minima and reciprocals turned, [blocks, count];
// values [levels]; order [columns]; found [count, columns].
extern "C" void choose_levels(const float *rows, const float *taken, const float *scales, const float *minima,
                              const float *reciprocals, const float *values, const int64_t *order, uint8_t *found,
                              long count, long columns, long levels, long even) {
    const Matrix m{rows, taken, scales, minima, reciprocals, values, order, count, columns, levels, even != 0};
    std::vector<float> left(columns * ROWS), errors(TOGETHER * ROWS);
    for (long top = 0; top < count; top += ROWS) {
        const long n = count - top < ROWS ? count - top : ROWS;
        for (long c = 0; c < columns; ++c)
            for (long r = 0; r < ROWS; ++r) left[c * ROWS + r] = r < n ? rows[(top + r) * columns + order[c]] : 0.0f;
        for (long begin = 0; begin < columns; begin += TOGETHER) {
            const long end = begin + TOGETHER < columns ? begin + TOGETHER : columns;
            for (long c = begin; c < end; ++c) {
                float *now = left.data() + c * ROWS, *error = errors.data() + (c - begin) * ROWS;
                for (long j = begin; j < c; ++j) {
                    const float part = taken[c * columns + j];
                    for (long r = 0; r < ROWS; ++r) now[r] -= part * errors[(j - begin) * ROWS + r];
                }
                float scale[ROWS] = {}, minimum[ROWS] = {}, given[ROWS] = {}, level[ROWS], value[ROWS];
                const long block = order[c] / BLOCK * count + top;
                for (long r = 0; r < n; ++r) {
                    scale[r] = scales[block + r];
                    minimum[r] = minima[block + r];
                    given[r] = (now[r] - minimum[r]) * reciprocals[block + r];
                }
                nearest(m, given, level, value);
                for (long r = 0; r < ROWS; ++r) error[r] = now[r] - (value[r] * scale[r] + minimum[r]);
                for (long r = 0; r < n; ++r) found[(top + r) * columns + order[c]] = static_cast<uint8_t>(level[r]);
            }
            pass_on(m, errors.data(), begin, end, left.data());
        }
    }
}
