/* The last steps of the meta-upscale head, float32.
 *
 * Of the polyphase form: every output pixel's place among the images of the phases.
 *
 *     y[q][p] = maps[rows[q] + columns[p]]
 *
 * Of the reassociated form: for every output pixel the product of its
 * hidden vector, which is made on the way and never stored, with what the features of its source pixel answer.
 *
 *     y[q][p] = constant[i][j] + Σ_k max(0, first[q][k] + second[p][k]) · vector[i][j][k],  i = rows[q], j = columns[p]
 *
 * Compiled for the machine it runs on, with winograd.c (kernels/library.py).
 */
#include <stddef.h>

#if defined(__AVX512F__)
#define LANES 16
#else
#define LANES 8
#endif

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* vectors (h, width, hidden), constants (h, width), strides of a row in floats; first (height_out, hidden), second
 * (width_out, hidden); y (height_out, width_out), a row stride_y apart. hidden is a multiple of 16.
 */
void head_products(const float *vectors, long stride_vectors, const float *constants, long stride_constants,
                   const float *first, const float *second, const long *rows, const long *columns, float *y,
                   long stride_y, int height_out, int width_out, int hidden, int threads)
{
    const vec none = {0};
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int q = 0; q < height_out; q++) {
        const float *down = first + (size_t)q * hidden;
        const float *line = vectors + rows[q] * stride_vectors, *alone = constants + rows[q] * stride_constants;
        for (int p = 0; p < width_out; p++) {
            const float *across = second + (size_t)p * hidden, *answer = line + columns[p] * hidden;
            vec sum[2] = {none, none};
            for (int k = 0; k < hidden; k += 2 * LANES)
#pragma GCC unroll 2
                for (int half = 0; half < 2; half++) {
                    int at = k + half * LANES;
                    if (at < hidden) {
                        vec value = *(const vec *)(down + at) + *(const vec *)(across + at);
                        value = (vec)((lanes)value & (lanes)(value > none));
                        sum[half] += value * *(const vec *)(answer + at);
                    }
                }
            sum[0] += sum[1];
            float total = alone[columns[p]];
            for (int lane = 0; lane < LANES; lane++)
                total += sum[0][lane];
            y[q * stride_y + p] = total;
        }
    }
}

/* maps, any; rows (height_out) and columns (width_out), in floats; y (height_out, width_out), a row stride_y apart. */
void head_interleave(const float *maps, const long *rows, const long *columns, float *y, long stride_y, int height_out,
                     int width_out, int threads)
{
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int q = 0; q < height_out; q++)
        for (int p = 0; p < width_out; p++)
            y[q * stride_y + p] = maps[rows[q] + columns[p]];
}
