// The gradient of a convolution's weights, in fp32, channels last:
//     dw[o][i][v][u] = sum over n, r, c of x[n][r * stride + v - pad][c * stride + u - pad][i] * dy[n][r][c][o]
// A strip of an image, or several small images, is laid out anew in groups of sixteen channels, so that what is
// summed at a time stays in the first cache; six numbers of x by sixteen of dy are summed in registers.
// Every sum goes through images, rows and columns in this order.
#include <algorithm>
#include <vector>

constexpr long group = 16;              // channels side by side
constexpr long fast_memory = 28 << 10;  // bytes
typedef float lanes __attribute__((vector_size(32), aligned(4)));

struct Strip {
  long images, rows, columns, lines, wide, stride;  // of dy: rows x columns; of x: lines x wide
};

// A line of a map, each group of channels apart by so many places; 0 where the map has no such place.
static void lay_out(float* to, long apart, const float* line, long channels, long width, long first, long count,
                    bool inside) {
  for (long column = first; column < first + count; column++, to += group)
    for (long c = 0; c < channels; c += group)
      if (inside && column >= 0 && column < width)
        std::copy_n(line + column * channels + c, group, to + c * apart);
      else
        std::fill_n(to + c * apart, group, 0.f);
}

// Adds to sums[each][16] what a group of x has at these places of it, times what a group of dy has.
template <int some>
static void add_up(float* sums, const float* x, const long* places, const float* dy, const Strip& strip) {
  const float* at[some];
  lanes sum[some][2];
  for (int k = 0; k < some; k++) {
    at[k] = x + places[k];
    for (int half = 0; half < 2; half++) sum[k][half] = *(lanes*)(sums + k * group + 8 * half);
  }
  for (long n = 0; n < strip.images; n++)
    for (long row = 0; row < strip.rows; row++) {
      long from = (n * strip.lines + row * strip.stride) * strip.wide * group;
      for (long column = 0; column < strip.columns; column++, from += strip.stride * group, dy += group) {
        lanes left = *(const lanes*)dy, right = *(const lanes*)(dy + 8);
        asm("" : "+x"(left), "+x"(right));  // in registers, not read anew for each
        for (int k = 0; k < some; k++) sum[k][0] += at[k][from] * left, sum[k][1] += at[k][from] * right;
      }
    }
  for (int k = 0; k < some; k++)
    for (int half = 0; half < 2; half++) *(lanes*)(sums + k * group + 8 * half) = sum[k][half];
}

// Adds to dw[o / 16][i / 16][v][u][i % 16][o % 16].
static void weight_gradient(const float* x, const float* dy, float* dw, long images, long height, long width, long in,
                            long rows, long columns, long out, long kernel, long stride, long pad) {
  const long wide = (columns - 1) * stride + kernel, each = kernel * kernel * group;
  auto tall = [=](long deep) { return (deep - 1) * stride + kernel; };
  auto bytes = [=](long deep) { return 4 * group * (tall(deep) * wide + deep * columns); };
  long most = rows, together = 1;  // rows, images
  while (most > 1 && bytes(most) > fast_memory) most--;
  if (most == rows) together = std::clamp(fast_memory / bytes(rows), 1L, images);
  std::vector<float> below(in * together * tall(most) * wide), above(out * together * most * columns);
  std::vector<long> places(each);  // of x[v][u][i % 16] in a group
  for (long k = 0; k < each; k++)
    places[k] = (k / group / kernel * wide + k / group % kernel) * group + k % group;
  for (long image = 0; image < images; image += together)
    for (long top = 0; top < rows; top += most) {
      const long deep = std::min(most, rows - top);
      const Strip strip{std::min(together, images - image), deep, columns, tall(deep), wide, stride};
      const long apart = strip.images * strip.lines * wide, beside = strip.images * deep * columns;
      for (long n = 0; n < strip.images; n++) {
        for (long line = 0; line < strip.lines; line++) {
          const long y = top * stride - pad + line;
          lay_out(below.data() + (n * strip.lines + line) * wide * group, apart,
                  x + ((image + n) * height + y) * width * in, in, width, -pad, wide, y >= 0 && y < height);
        }
        for (long row = 0; row < deep; row++)
          lay_out(above.data() + (n * deep + row) * columns * group, beside,
                  dy + ((image + n) * rows + top + row) * columns * out, out, columns, 0, columns, true);
      }
      float* sums = dw;
      for (long o = 0; o < out; o += group)
        for (long i = 0; i < in; i += group)
          for (long k = 0; k < each;) {
            const long some = each - k < 6 ? 4 : 6;  // 16 k^2 is a multiple of 6, or 4 more
            (some == 6 ? add_up<6> : add_up<4>)(sums, &below[i * apart], &places[k], &above[o * beside], strip);
            k += some, sums += some * group;
          }
    }
}

// Each part of the images to sums of its own: dw[part][o / 16][i / 16][v][u][i % 16][o % 16], 0 before.
extern "C" void weight_gradients(const float* x, const float* dy, float* dw, long images, long height, long width,
                                 long in, long rows, long columns, long out, long kernel, long stride, long pad,
                                 long parts) {
#pragma omp parallel for num_threads(parts)
  for (long part = 0; part < parts; part++) {
    const long begin = images * part / parts, end = images * (part + 1) / parts;
    weight_gradient(x + begin * height * width * in, dy + begin * rows * columns * out,
                    dw + part * out * in * kernel * kernel, end - begin, height, width, in, rows, columns, out, kernel,
                    stride, pad);
  }
}
