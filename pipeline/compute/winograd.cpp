// Convolutions by 3 x 3 weights in fp32, channels last, after Winograd (Lavin and Gray, 2016). With
//
//          1  0 -1  0          1    0    0
//     B' = 0  1  1  0     G = 1/2  1/2  1/2     A' = 1  1  1  0
//          0 -1  1  0         1/2 -1/2  1/2          0  1 -1 -1
//          0  1  0 -1          0    0    1
//
// a tile of 2 x 2 outputs is A' [sum over channels of (G w G') * (B' x B)] A, where * goes place by place of a tile of
// 4 x 4: 16 products for a pair of channels, where there were 36. The gradient of w is
// G' [sum over tiles of (A dy A') * (B' x B)] G. So either is a product of matrices for each of 16 places. What G does
// is done by the caller, once for all tiles.
#include <algorithm>
#include <vector>

constexpr long group = 16;               // channels side by side
constexpr long some = 4;                 // rows of them that are summed at a time, in registers
constexpr long fast_memory = 256 << 10;  // bytes
constexpr long few = 24;                 // tiles; what they sum for a group stays in the first cache
typedef float lanes __attribute__((vector_size(32), aligned(4), may_alias));

static lanes& at(float* place) { return *(lanes*)place; }
static lanes at(const float* place) { return *(const lanes*)place; }

struct Map {
  long height, width, channels;
};

struct Layer {
  long images, pad;
  Map wide, narrow;  // x, before it is padded; y
  long down() const { return (narrow.height + 1) / 2; }
  long beside() const { return (narrow.width + 1) / 2; }
  long tiles() const { return images * down() * beside(); }
};

// Where each of the side x side pixels of some tiles lies; `nowhere` beyond the edges.
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

// B' x B of a tile, its 16 places so far apart.
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

// A dy A' of a tile, its groups of channels so far aside.
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

// A' m A of a tile, for the group of channels from c on.
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

// sums[r][16] = the sum over k of a[r * down + k * along] * b[k][16], added to what is there if asked.
template <bool add>
static void multiply(float* sums, const float* a, long down, long along, const float* b, long count) {
  lanes sum[some][2];
  for (int r = 0; r < some; r++)
    for (int half = 0; half < 2; half++) sum[r][half] = add ? at(sums + r * group + 8 * half) : lanes{};
  for (long k = 0; k < count; k++, a += along, b += group) {
    lanes left = at(b), right = at(b + 8);
    asm("" : "+x"(left), "+x"(right));  // in registers, not read anew for each
    for (int r = 0; r < some; r++) sum[r][0] += a[r * down] * left, sum[r][1] += a[r * down] * right;
  }
  for (int r = 0; r < some; r++)
    for (int half = 0; half < 2; half++) at(sums + r * group + 8 * half) = sum[r][half];
}

// y of x and of weights[16][out / 16][in][out % 16], which are G w G'.
extern "C" void convolve(const float* x, const float* weights, float* y, Layer layer, long threads) {
  const long in = layer.wide.channels, out = layer.narrow.channels, tiles = layer.tiles();
  const long most = std::clamp(fast_memory / (64 * in) / some * some, 3 * some, few);
  const long apart = most * in + group, aside = most * group + group;  // not a power of two
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
          for (long t = 0; t < count; t += some)
            multiply<false>(&sums[p * aside + t * group], &spread[p * apart + t * in], in, 1,
                            weights + (p * out + o) * in, in);
        for (long t = 0; t < count; t++) gather(&to[4 * t], o, &sums[t * group], aside);
      }
    }
  }
}

// Adds to sums[part][16][out / 16][in][out % 16] what part of the tiles has; of it G' and G make the gradient.
extern "C" void weight_gradients(const float* x, const float* dy, float* sums, Layer layer, long parts) {
  const long in = layer.wide.channels, out = layer.narrow.channels;
  const long most = std::max(fast_memory / (64 * (in + out)), few);
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
          for (long i = 0; i < in; i += some)
            multiply<true>(sums + (((part * 16 + p) * out + o) * in) + i * group, &below[p * apart + i], 1, in,
                           &above[p * beyond + o * most], count);
    }
  }
}
