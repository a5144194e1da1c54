// The elementary functions in f64 by the C library, rounded to f32 where that decides the rounding.
//
// A result is decided where everything within 2^-41 (relative) of the library's value rounds to one
// f32. The library is right to better than 2^-44, also through the formulas below. What is undecided
// lies within 2^-40 of the middle of two floats, so it is in tests/data/hard_cases, which
// hard_cases.py makes with the help of this file; but silu and the gelus of magnitudes below 2^-30
// are decided here by their series.

#include <math.h>
#include <stdint.h>
#include <string.h>

#define DECIDING 0x1p-41
#define NEAR 0x1p-40
#define CANONICAL_NAN 0x7fc00000u

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double silu(double x) { return x < -700 ? -0.0 : x / (1 + exp(-x)); }
static double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }
static double rsqrt(double x) { return 1 / sqrt(x); }

static double mish(double x) {
  if (x < -700) return -0.0;
  if (x > 60) return x;
  double e = exp(x), n = e * (e + 2);
  return x * (n / (n + 2));
}

static double gelu(double x) { return x < -100 ? -0.0 : 0.5 * x * erfc(-x * 0x1.6a09e667f3bcdp-1); }

static double gelu_tanh(double x) {
  if (x < -100) return -0.0;
  return x / (1 + exp(-2 * 0x1.9884533d43651p-1 * (x + 0.044715 * x * x * x)));
}

static uint32_t bits(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  return x != x ? CANONICAL_NAN : u;
}

static float from_bits(uint32_t u) {
  float x;
  memcpy(&x, &u, 4);
  return x;
}

// x / 2 + c x^2 + …, c > 0: x / 2, or of two equally near floats the greater.
static float half_and_a_little(float x) {
  double exact = 0.5 * x;
  float rounded = (float)exact;
  return rounded < exact ? nextafterf(rounded, INFINITY) : rounded;
}

// Whether y and what is within a relative distance of it round to different floats.
static int is_open(double y, double distance) {
  return y == y && (float)(y * (1 - distance)) != (float)(y * (1 + distance));
}

typedef double function(double);

// Results for n inputs, given as bits like the results. In `doubt` 2 where the result is not
// decided, 1 where it is, but near to the middle of two floats.
static void evaluate(function *f, const uint32_t *x_bits, int64_t n, uint32_t *results,
                     uint8_t *doubt) {
  int halves = f == silu || f == gelu || f == gelu_tanh;
  for (int64_t i = 0; i < n; i++) {
    float x = from_bits(x_bits[i]);
    if (halves && fabsf(x) < 0x1p-30f) {
      results[i] = bits(half_and_a_little(x));
      doubt[i] = 0;
      continue;
    }
    double y = f(x);
    results[i] = bits((float)y);
    doubt[i] = is_open(y, NEAR) + is_open(y, DECIDING);
  }
}

#define EXPORT(name, f)                                                                    \
  void reference_##name(const uint32_t *x, int64_t n, uint32_t *results, uint8_t *doubt) { \
    evaluate(f, x, n, results, doubt);                                                     \
  }

EXPORT(exp, exp) EXPORT(exp2, exp2) EXPORT(expm1, expm1)
EXPORT(log, log) EXPORT(log2, log2) EXPORT(log10, log10) EXPORT(log1p, log1p)
EXPORT(sin, sin) EXPORT(cos, cos) EXPORT(tan, tan)
EXPORT(asin, asin) EXPORT(acos, acos) EXPORT(atan, atan)
EXPORT(sinh, sinh) EXPORT(cosh, cosh) EXPORT(tanh, tanh)
EXPORT(asinh, asinh) EXPORT(acosh, acosh) EXPORT(atanh, atanh)
EXPORT(sigmoid, sigmoid) EXPORT(silu, silu) EXPORT(softplus, softplus) EXPORT(mish, mish)
EXPORT(erf, erf) EXPORT(gelu, gelu) EXPORT(gelu_tanh, gelu_tanh) EXPORT(rsqrt, rsqrt)
