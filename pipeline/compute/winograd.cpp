// 3 x 3 convolutions in fp32, channels-last, by Winograd's F(2 x 2, 3 x 3) (Lavin and Gray, 2016). With
//
//          1  0 -1  0          1    0    0
//     B' = 0  1  1  0     G = 1/2  1/2  1/2     A' = 1  1  1  0
//          0 -1  1  0         1/2 -1/2  1/2          0  1 -1 -1
//          0  1  0 -1          0    0    1
//
// a tile of 2 x 2 outputs is A' [sum over channels of (G w G') * (B' x B)] A, where * multiplies 4 x 4 tiles element by
// element: 16 products per pair of channels in place of 36. The gradient of w is
// G' [sum over tiles of (A dy A') * (B' x B)] G. Both are one matrix product for each of the 16 elements. The caller
// applies G, once for all tiles.
#include <algorithm>
#include <vector>

constexpr long group = 16;               // channels that are adjacent in memory
constexpr long row_block = 4;            // rows of a group that are summed in registers at a time
constexpr long fast_memory = 256 << 10;  // bytes
constexpr long tile_block = 24;          // tiles whose sums for a group stay in the L1 cache
typedef float lanes __attribute__((vector_size(32), aligned(4), may_alias));

static lanes& at(float* place) { return *(lanes*)place; }
static lanes at(const float* place) { return *(const lanes*)place; }

struct Map {
  long height, width, channels;
};

struct Layer {
  long images, pad;
  Map wide, narrow;  // x before padding; y
  long down() const { return (narrow.height + 1) / 2; }
  long beside() const { return (narrow.width + 1) / 2; }
  long tiles() const { return images * down() * beside(); }
};

// The address of each of the side x side pixels of `count` tiles; `nowhere` beyond the edges.
template <int side, typename number>
static void find(number** pixels, number* map, number* nowhere, const Map& size, long pad, const Layer& layer,
                 long first, long count) {
  long column = first % layer.beside(), row = first / layer.beside() % layer.down();
  long image = first / layer.beside() / layer.down();
  for (long tile = 0; tile < count; tile++) {
    for (long v = 0; v < side; v++)
      for (long u = 0; u < side; u++) {
        const long y = 2 * row - pad + v, x = 2 * column - pad + u;
        const bool inside = y >= 0 && y < size.height && x >= 0 && x < size.width;
        *pixels++ = inside ? map + ((image * size.height + y) * size.width + x) * size.channels : nowhere;
      }
    if (++column == layer.beside()) column = 0, row++;
    if (row == layer.down()) row = 0, image++;
  }
}

// B' x B of a tile; its 16 elements are written `apart` floats from one another.
static void spread_wide(float* to, long apart, const float* const* x, long channels) {
  for (long c = 0; c < channels; c += 8, to += 8) {
    lanes d[4][4];
    for (int u = 0; u < 4; u++) {
      const lanes x0 = at(x[u] + c), x1 = at(x[4 + u] + c), x2 = at(x[8 + u] + c), x3 = at(x[12 + u] + c);
      d[0][u] = x0 - x2, d[1][u] = x1 + x2, d[2][u] = x2 - x1, d[3][u] = x1 - x3;
    }
    for (int v = 0; v < 4; v++) {
      at(to + (4 * v + 0) * apart) = d[v][0] - d[v][2];
      at(to + (4 * v + 1) * apart) = d[v][1] + d[v][2];
      at(to + (4 * v + 2) * apart) = d[v][2] - d[v][1];
      at(to + (4 * v + 3) * apart) = d[v][1] - d[v][3];
    }
  }
}

// A dy A' of a tile; elements are `apart` floats from one another, groups of channels `aside`.
static void spread_narrow(float* to, long apart, long aside, const float* const* dy, long channels) {
  for (long c = 0; c < channels; c += 8) {
    lanes d[4][2];
    for (int u = 0; u < 2; u++) {
      const lanes y0 = at(dy[u] + c), y1 = at(dy[2 + u] + c);
      d[0][u] = y0, d[1][u] = y0 + y1, d[2][u] = y0 - y1, d[3][u] = -y1;
    }
    float* place = to + c / group * aside + c % group;
    for (int v = 0; v < 4; v++, place += 4 * apart) {
      at(place) = d[v][0];
      at(place + apart) = d[v][0] + d[v][1];
      at(place + 2 * apart) = d[v][0] - d[v][1];
      at(place + 3 * apart) = -d[v][1];
    }
  }
}

// A' m A of a tile, for the group of channels that begins at c.
static void gather(float* const* y, long c, const float* m, long apart) {
  for (int half = 0; half < 2; half++, c += 8, m += 8) {
    lanes d[2][4];
    for (int u = 0; u < 4; u++) {
      const lanes m0 = at(m + u * apart), m1 = at(m + (4 + u) * apart);
      const lanes m2 = at(m + (8 + u) * apart), m3 = at(m + (12 + u) * apart);
      d[0][u] = m0 + m1 + m2, d[1][u] = m1 - m2 - m3;
    }
    for (int v = 0; v < 2; v++) {
      at(y[2 * v] + c) = d[v][0] + d[v][1] + d[v][2];
      at(y[2 * v + 1] + c) = d[v][1] - d[v][2] - d[v][3];
    }
  }
}

// sums[r][16] = the sum over k of a[r * down + k * along] * b[k][16], added to the values in `sums` if `add`.
template <bool add>
static void multiply(float* sums, const float* a, long down, long along, const float* b, long count) {
  lanes sum[row_block][2];
  for (int r = 0; r < row_block; r++)
    for (int half = 0; half < 2; half++) sum[r][half] = add ? at(sums + r * group + 8 * half) : lanes{};
  for (long k = 0; k < count; k++, a += along, b += group) {
    lanes left = at(b), right = at(b + 8);
    asm("" : "+x"(left), "+x"(right));  // keep b in registers for all rows
    for (int r = 0; r < row_block; r++) sum[r][0] += a[r * down] * left, sum[r][1] += a[r * down] * right;
  }
  for (int r = 0; r < row_block; r++)
    for (int half = 0; half < 2; half++) at(sums + r * group + 8 * half) = sum[r][half];
}

// Convolve x to y; weights[16][out / 16][in][out % 16] are G w G'.
extern "C" void convolve(const float* x, const float* weights, float* y, Layer layer, long threads) {
  const long in = layer.wide.channels, out = layer.narrow.channels, tiles = layer.tiles();
  const long most = std::clamp(fast_memory / (64 * in) / row_block * row_block, 3 * row_block, tile_block);
  const long apart = most * in + group, aside = most * group + group;  // no powers of two: rows would share cache sets
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> spread(16 * apart), sums(16 * aside), zeros(in), unseen(out);
    std::vector<const float*> from(16 * most);
    std::vector<float*> to(4 * most);
#pragma omp for
    for (long first = 0; first < tiles; first += most) {
      const long count = std::min(most, tiles - first);
      find<4, const float>(from.data(), x, zeros.data(), layer.wide, layer.pad, layer, first, count);
      find<2>(to.data(), y, unseen.data(), layer.narrow, 0, layer, first, count);
      for (long t = 0; t < count; t++) spread_wide(&spread[t * in], apart, &from[16 * t], in);
      for (long o = 0; o < out; o += group) {
        for (long p = 0; p < 16; p++)
          for (long t = 0; t < count; t += row_block)
            multiply<false>(&sums[p * aside + t * group], &spread[p * apart + t * in], in, 1,
                            weights + (p * out + o) * in, in);
        for (long t = 0; t < count; t++) gather(&to[4 * t], o, &sums[t * group], aside);
      }
    }
  }
}

// Add the sum over each part of the tiles to sums[part][16][out / 16][in][out % 16]; the caller applies G' and G.
extern "C" void weight_gradients(const float* x, const float* dy, float* sums, Layer layer, long parts) {
  const long in = layer.wide.channels, out = layer.narrow.channels;
  const long most = std::max(fast_memory / (64 * (in + out)), tile_block);
  const long apart = most * in + group, aside = most * group, beyond = most * out + group;
#pragma omp parallel for num_threads(parts)
  for (long part = 0; part < parts; part++) {
    std::vector<float> below(16 * apart), above(16 * beyond), zeros(std::max(in, out));
    std::vector<const float*> wide(16 * most), narrow(4 * most);
    const long end = layer.tiles() * (part + 1) / parts;
    for (long first = layer.tiles() * part / parts; first < end; first += most) {
      const long count = std::min(most, end - first);
      find<4, const float>(wide.data(), x, zeros.data(), layer.wide, layer.pad, layer, first, count);
      find<2, const float>(narrow.data(), dy, zeros.data(), layer.narrow, 0, layer, first, count);
      for (long t = 0; t < count; t++) {
        spread_wide(&below[t * in], apart, &wide[16 * t], in);
        spread_narrow(&above[t * group], beyond, aside, &narrow[4 * t], out);
      }
      for (long p = 0; p < 16; p++)
        for (long o = 0; o < out; o += group)
          for (long i = 0; i < in; i += row_block)
            multiply<true>(sums + (((part * 16 + p) * out + o) * in) + i * group, &below[p * apart + i], 1, in,
                           &above[p * beyond + o * most], count);
    }
  }
}
