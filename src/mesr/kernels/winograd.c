/* 3×3 convolutions by Winograd's minimal filtering F(4×4, 3×3) (Lavin & Gray 2016), float32, NHWC.
 *
 * A 6×6 input tile and the kernel go to a domain where the convolution is a product at each of 36 places:
 * 36 multiplications make 16 outputs, a quarter of the direct form's 144. The tiles of a block stay in the
 * second-level cache from input to output. Stride 1, zero padding 1; channels in multiples of 16.
 *
 * Compiled for the machine it runs on (kernels/__init__.py); the vectors are GCC's, so any processor will do.
 */
#define _POSIX_C_SOURCE 200112L
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#define ROWS 6 /* 6 × 4 accumulators of the 32 registers */
#define WIDE 4
#else
#define LANES 8
#define ROWS 4 /* 4 × 2 of 16 */
#define WIDE 2
#endif
#define TILES 24 /* of a block: a multiple of ROWS */
#define PLACES 36
/* Floats of one place's tiles; the odd cache line keeps the 36 places out of the same cache sets. */
#define SHEET(channels) ((size_t)TILES * (channels) + 16)

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

typedef int lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline vec load(const float *from) { return *(const vec *)from; }
static inline void store(float *to, vec value) { *(vec *)to = value; }
static inline vec where_positive(vec gate, vec value)
{
    vec none = {0};
    return (vec)((lanes)value & (lanes)(gate > none));
}

static pthread_key_t held_key;
static pthread_once_t held_once = PTHREAD_ONCE_INIT;

static void make_key(void) { pthread_key_create(&held_key, free); }

/* Scratch of the calling thread, kept between calls and freed when it ends: 8 · PLACES · TILES channels would fit its
 * cache. Its first 64 bytes hold its size. */
static float *scratch(size_t floats)
{
    pthread_once(&held_once, make_key);
    char *held = pthread_getspecific(held_key);
    if (held && *(size_t *)held >= floats) {
        return (float *)(held + 64);
    }
    free(held);
    pthread_setspecific(held_key, NULL);
    if (posix_memalign((void **)&held, 64, 64 + floats * sizeof(float)) || pthread_setspecific(held_key, held)) {
        return NULL;
    }
    *(size_t *)held = floats;
    return (float *)(held + 64);
}

/* Bᵀ · d, six values a stride apart. */
static inline __attribute__((always_inline)) void into(vec *d, int step)
{
    vec a = d[0], b = d[step], c = d[2 * step], e = d[3 * step], f = d[4 * step], g = d[5 * step];
    vec even = f - 4.0f * c, odd = e - 4.0f * b;
    vec far = f - c, near = 2.0f * (e - b);
    d[0] = 4.0f * a - 5.0f * c + f;
    d[step] = even + odd;
    d[2 * step] = even - odd;
    d[3 * step] = far + near;
    d[4 * step] = far - near;
    d[5 * step] = 4.0f * b - 5.0f * e + g;
}

/* Aᵀ · m, six values to four. */
static inline __attribute__((always_inline)) void out_of(const vec *m, int step, vec *y, int to)
{
    vec sum = m[step] + m[2 * step], difference = m[step] - m[2 * step];
    vec sum2 = m[3 * step] + m[4 * step], difference2 = m[3 * step] - m[4 * step];
    y[0] = m[0] + sum + sum2;
    y[to] = difference + 2.0f * difference2;
    y[2 * to] = sum + 4.0f * sum2;
    y[3 * to] = difference + 8.0f * difference2 + m[5 * step];
}

/* A · g, four values to six: the transpose of `out_of`, for the kernel's gradient. */
static inline __attribute__((always_inline)) void back_into(const vec *g, int from, vec *m, int step)
{
    vec a = g[0], b = g[from], c = g[2 * from], d = g[3 * from];
    vec even = a + c, odd = b + d, even2 = a + 4.0f * c, odd2 = 2.0f * b + 8.0f * d;
    m[0] = a;
    m[step] = even + odd;
    m[2 * step] = even - odd;
    m[3 * step] = even2 + odd2;
    m[4 * step] = even2 - odd2;
    m[5 * step] = d;
}

/* G · g, three values to six. */
static inline __attribute__((always_inline)) void kernel_into(const vec *g, int from, vec *u, int step)
{
    vec a = g[0], b = g[from], c = g[2 * from];
    vec even = (a + c) * (-1.0f / 6), odd = b * (-1.0f / 6), even2 = a * (1.0f / 24) + c * (1.0f / 6),
        odd2 = b * (1.0f / 12);
    u[0] = a * 0.25f;
    u[step] = even + odd;
    u[2 * step] = even - odd;
    u[3 * step] = even2 + odd2;
    u[4 * step] = even2 - odd2;
    u[5 * step] = c;
}

/* Gᵀ · u, its transpose: six values to three. */
static inline __attribute__((always_inline)) void kernel_out_of(const vec *u, int step, vec *g, int to)
{
    vec sum = (u[step] + u[2 * step]) * (1.0f / 6), sum2 = u[3 * step] + u[4 * step];
    g[0] = u[0] * 0.25f - sum + sum2 * (1.0f / 24);
    g[to] = (u[2 * step] - u[step]) * (1.0f / 6) + (u[3 * step] - u[4 * step]) * (1.0f / 12);
    g[2 * to] = sum2 * (1.0f / 6) - sum + u[5 * step];
}

/* How a kernel (out, in, 3, 3) lies in memory: floats from one to the next along each axis. */
typedef struct {
    long out, in, row, column;
} Strides;

/* One input channel of a kernel, transformed: u[place][in][out], or turned for the gradient:
 * u[place][out][in]. */
static void transform_kernel(const float *w, Strides s, int c, int in, int out, int turned, float *u)
{
    for (int k = 0; k < out; k += LANES) {
        vec g[9], half[18], q[PLACES];
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++) {
                const float *from =
                    w + c * s.in + (turned ? (2 - i) * s.row + (2 - j) * s.column : i * s.row + j * s.column);
                for (int lane = 0; lane < LANES; lane++)
                    g[3 * i + j][lane] = from[(k + lane) * s.out];
            }
        for (int j = 0; j < 3; j++)
            kernel_into(g + j, 3, half + j, 3);
        for (int i = 0; i < 6; i++)
            kernel_into(half + 3 * i, 1, q + 6 * i, 1);
        for (int p = 0; p < PLACES; p++) {
            if (!turned)
                store(u + ((size_t)p * in + c) * out + k, q[p]);
            else
                for (int lane = 0; lane < LANES; lane++)
                    u[((size_t)p * out + k + lane) * in + c] = q[p][lane];
        }
    }
}

typedef struct {
    int height, width, across, tiles; /* of one image, tiles a row, tiles an image */
    long total;                       /* tiles of all images */
} Plan;

static Plan plan(int images, int height, int width)
{
    Plan p = {height, width, (width + 3) / 4, 0, 0};
    p.tiles = p.across * ((height + 3) / 4);
    p.total = (long)images * p.tiles;
    return p;
}

/* The top left output pixel of a tile and the image it is in. */
static inline long place(const Plan *p, long tile, int *row, int *column)
{
    long image = tile / p->tiles;
    int within = (int)(tile % p->tiles);
    *row = within / p->across * 4;
    *column = within % p->across * 4;
    return image;
}

/* `side`×`side` pixels from (row, column) on as vectors; zero outside, and where `mask` is not positive. */
static inline __attribute__((always_inline)) void gather(const Plan *p, const float *image, const float *mask,
                                                         int channels, int row, int column, int side, vec *d)
{
    for (int i = 0; i < side; i++)
        for (int j = 0; j < side; j++) {
            int y = row + i, x = column + j;
            vec value = {0};
            if (y >= 0 && y < p->height && x >= 0 && x < p->width) {
                size_t at = ((size_t)y * p->width + x) * channels;
                value = load(image + at);
                if (mask)
                    value = where_positive(load(mask + at), value);
            }
            d[i * side + j] = value;
        }
}

/* Tiles first…first+TILES of the input, transformed: v[place][tile][channel]. */
static void transform_input(const Plan *p, const float *x, const float *mask, int channels, long first,
                            float *v)
{
    size_t image_size = (size_t)p->height * p->width * channels;
    for (int t = 0; t < TILES; t++) {
        int row, column;
        long image = place(p, first + t, &row, &column);
        for (int c = 0; c < channels; c += LANES) {
            vec d[PLACES];
            if (first + t < p->total) {
                const float *from = x + image * image_size + c;
                gather(p, from, mask ? mask + image * image_size + c : NULL, channels, row - 1, column - 1, 6,
                       d);
                for (int j = 0; j < 6; j++)
                    into(d + j, 6);
                for (int i = 0; i < 6; i++)
                    into(d + 6 * i, 1);
            } else {
                memset(d, 0, sizeof d);
            }
            for (int k = 0; k < PLACES; k++)
                store(v + k * SHEET(channels) + (size_t)t * channels + c, d[k]);
        }
    }
}

/* c[rows × n vectors] = a · b (+ c): a's element (i, k) is a[i·across + k·down], b and c are row-major. */
static inline __attribute__((always_inline)) void product(const float *a, size_t across, size_t down,
                                                          const float *b, size_t ldb, float *c, size_t ldc,
                                                          int depth, int rows, int n, int add)
{
    vec sum[ROWS][WIDE];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < n; j++) {
            vec none = {0};
            sum[i][j] = add ? load(c + i * ldc + j * LANES) : none;
        }
    for (int k = 0; k < depth; k++) {
        vec line[WIDE];
#pragma GCC unroll 8
        for (int j = 0; j < n; j++)
            line[j] = load(b + k * ldb + j * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            float factor = a[i * across + k * down];
#pragma GCC unroll 8
            for (int j = 0; j < n; j++)
                sum[i][j] += factor * line[j];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < n; j++)
            store(c + i * ldc + j * LANES, sum[i][j]);
}

/* y = [relu] conv(x where mask > 0) [+ residual], or with the kernel turned and its channels exchanged.
 *
 * x (images, height, width, in), w the kernel (out, in, 3, 3), or (in, out, 3, 3) where turned, strides in
 * floats; u 36 · in · out floats of scratch; y and residual (…, out). mask, residual may be NULL. Gives 0, or
 * 1 where memory ran out.
 */
int winograd_convolve(const float *x, const float *mask, const float *w, float *u, const float *residual,
                      float *y, const long *strides, int turned, int images, int height, int width, int in,
                      int out, int relu, int threads)
{
    Plan p = plan(images, height, width);
    Strides s = {strides[0], strides[1], strides[2], strides[3]};
    long blocks = (p.total + TILES - 1) / TILES;
    int failed = 0, first = turned ? out : in;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
#pragma omp for schedule(static)
        for (int c = 0; c < first; c++)
            transform_kernel(w, s, c, first, turned ? in : out, turned, u);
#pragma omp for schedule(static)
        for (long block = 0; block < blocks; block++) {
            float *v = scratch(PLACES * (SHEET(in) + SHEET(out)));
            if (!v) {
                failed |= 1;
                continue;
            }
            float *m = v + PLACES * SHEET(in);
            transform_input(&p, x, mask, in, block * TILES, v);
            for (int k = 0; k < PLACES; k++)
                for (int n = 0; n < out;) {
                    int wide = out - n >= WIDE * LANES;
                    for (int t = 0; t < TILES; t += ROWS) {
                        const float *a = v + k * SHEET(in) + (size_t)t * in,
                                    *b = u + (size_t)k * in * out + n;
                        float *c = m + k * SHEET(out) + (size_t)t * out + n;
                        if (wide)
                            product(a, in, 1, b, out, c, out, in, ROWS, WIDE, 0);
                        else
                            product(a, in, 1, b, out, c, out, in, ROWS, 1, 0);
                    }
                    n += wide ? WIDE * LANES : LANES;
                }
            size_t image_size = (size_t)height * width * out;
            for (int t = 0; t < TILES && block * TILES + t < p.total; t++) {
                int row, column;
                size_t base = place(&p, block * TILES + t, &row, &column) * image_size;
                for (int c = 0; c < out; c += LANES) {
                    vec q[PLACES], half[24], tile[16];
                    for (int k = 0; k < PLACES; k++)
                        q[k] = load(m + k * SHEET(out) + (size_t)t * out + c);
                    for (int j = 0; j < 6; j++)
                        out_of(q + j, 6, half + j, 6);
                    for (int i = 0; i < 4; i++)
                        out_of(half + 6 * i, 1, tile + 4 * i, 1);
                    for (int i = 0; i < 4 && row + i < height; i++)
                        for (int j = 0; j < 4 && column + j < width; j++) {
                            size_t at = base + ((size_t)(row + i) * width + column + j) * out + c;
                            vec value = tile[4 * i + j];
                            if (relu)
                                value = where_positive(value, value);
                            if (residual)
                                value += load(residual + at);
                            store(y + at, value);
                        }
                }
            }
        }
    }
    return failed;
}

/* The kernel's gradient dw (out, in, 3, 3), strides in floats.
 *
 * x (images, height, width, in), g (…, out) the gradient at the output, counted where mask (…, out) > 0;
 * du threads · 36 · in · out floats of scratch, a part for every thread. Gives 0, or 1 where memory ran out.
 */
int winograd_gradient(const float *x, const float *g, const float *mask, float *du, float *dw,
                      const long *strides, int images, int height, int width, int in, int out, int threads)
{
    Plan p = plan(images, height, width);
    long blocks = (p.total + TILES - 1) / TILES;
    size_t part = (size_t)PLACES * in * out;
    Strides s = {strides[0], strides[1], strides[2], strides[3]};
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
#pragma omp for schedule(static)
        for (int thread = 0; thread < threads; thread++) {
            float *own = du + thread * part;
            memset(own, 0, part * sizeof(float));
            float *v = scratch(PLACES * (SHEET(in) + SHEET(out)));
            if (!v) {
                failed |= 1;
                continue;
            }
            float *m = v + PLACES * SHEET(in);
            size_t image_size = (size_t)height * width * out;
            for (long block = blocks * thread / threads; block < blocks * (thread + 1) / threads; block++) {
                transform_input(&p, x, NULL, in, block * TILES, v);
                for (int t = 0; t < TILES; t++) {
                    int row, column;
                    long image = place(&p, block * TILES + t, &row, &column);
                    for (int c = 0; c < out; c += LANES) {
                        vec d[16], half[24], q[PLACES];
                        memset(q, 0, sizeof q);
                        if (block * TILES + t < p.total) {
                            size_t base = image * image_size + c;
                            gather(&p, g + base, mask ? mask + base : NULL, out, row, column, 4, d);
                            for (int j = 0; j < 4; j++)
                                back_into(d + j, 4, half + j, 4);
                            for (int i = 0; i < 6; i++)
                                back_into(half + 4 * i, 1, q + 6 * i, 1);
                        }
                        for (int k = 0; k < PLACES; k++)
                            store(m + k * SHEET(out) + (size_t)t * out + c, q[k]);
                    }
                }
                for (int k = 0; k < PLACES; k++)
                    for (int n = 0; n < out;) {
                        int wide = out - n >= WIDE * LANES;
                        const float *b = m + k * SHEET(out) + n;
                        for (int c = 0; c < in; c += 4) {
                            const float *a = v + k * SHEET(in) + c;
                            float *to = own + ((size_t)k * in + c) * out + n;
                            if (wide)
                                product(a, 1, in, b, out, to, out, TILES, 4, WIDE, 1);
                            else
                                product(a, 1, in, b, out, to, out, TILES, 4, 1, 1);
                        }
                        n += wide ? WIDE * LANES : LANES;
                    }
            }
        }
#pragma omp for schedule(static)
        for (int c = 0; c < in; c++)
            for (int k = 0; k < out; k += LANES) {
                vec q[PLACES], half[18], kernel[9];
                for (int place = 0; place < PLACES; place++) {
                    const float *from = du + ((size_t)place * in + c) * out + k;
                    q[place] = load(from);
                    for (int thread = 1; thread < threads; thread++)
                        q[place] += load(from + thread * part);
                }
                for (int j = 0; j < 6; j++)
                    kernel_out_of(q + j, 6, half + j, 6);
                for (int i = 0; i < 3; i++)
                    kernel_out_of(half + 6 * i, 1, kernel + 3 * i, 1);
                for (int i = 0; i < 3; i++)
                    for (int j = 0; j < 3; j++)
                        for (int lane = 0; lane < LANES; lane++)
                            dw[(k + lane) * s.out + c * s.in + i * s.row + j * s.column] =
                                kernel[3 * i + j][lane];
            }
    }
    return failed;
}
