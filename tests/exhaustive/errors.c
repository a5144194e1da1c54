// Errors of results of the elementary functions on f64, in units in the last place, by the functions
// of GCC's libquadmath. Those have 113 bits; what is lost in the formulas here is some of the last.

#include <math.h>
#include <quadmath.h>
#include <stdint.h>

typedef __float128 quad;

static quad rsqrt_(quad x) { return 1 / sqrtq(x); }
static quad sigmoid_(quad x) { return 1 / (1 + expq(-x)); }
static quad silu_(quad x) { return x / (1 + expq(-x)); }
static quad softplus_(quad x) { return x > 0 ? x + log1pq(expq(-x)) : log1pq(expq(x)); }

static quad mish_(quad x) {
  if (x > 100) return x;
  quad e = expq(x), n = e * (e + 2);
  return x * (n / (n + 2));
}

static quad gelu_(quad x) { return x * erfcq(-x * M_SQRT1_2q) / 2; }

static quad gelu_tanh_(quad x) {
  quad slope = sqrtq(8 / M_PIq);
  return x / (1 + expq(-slope * (x + 0.044715Q * x * x * x)));
}

// In ulps: f64 neighbours of the exact value are one apart. Infinity counts as 2^1024.
static double error(double got, quad exact) {
  if (isnanq(exact) || isnan(got)) return isnanq(exact) && isnan(got) ? 0 : INFINITY;
  quad top = ldexpq(1, 1024);
  if (fabsq(exact) >= top) return isinf(got) && (got > 0) == (exact > 0) ? 0 : INFINITY;
  if (!signbitq(exact) != !signbit(got)) return INFINITY;
  quad value = isinf(got) ? copysignq(top, got) : got;
  int exponent = -1021;
  if (exact != 0) frexpq(exact, &exponent);
  if (exponent < -1021) exponent = -1021;
  return (double)ldexpq(fabsq(value - exact), 53 - exponent);
}

#define ERRORS(name, function)                                                               \
  void errors_##name(const double *x, const double *got, double *errors, int64_t n) {        \
    for (int64_t i = 0; i < n; i++) errors[i] = error(got[i], function(x[i]));               \
  }

ERRORS(exp, expq) ERRORS(exp2, exp2q) ERRORS(expm1, expm1q)
ERRORS(log, logq) ERRORS(log2, log2q) ERRORS(log10, log10q) ERRORS(log1p, log1pq)
ERRORS(sin, sinq) ERRORS(cos, cosq) ERRORS(tan, tanq)
ERRORS(asin, asinq) ERRORS(acos, acosq) ERRORS(atan, atanq)
ERRORS(sinh, sinhq) ERRORS(cosh, coshq) ERRORS(tanh, tanhq)
ERRORS(asinh, asinhq) ERRORS(acosh, acoshq) ERRORS(atanh, atanhq)
ERRORS(sigmoid, sigmoid_) ERRORS(silu, silu_) ERRORS(softplus, softplus_) ERRORS(mish, mish_)
ERRORS(erf, erfq) ERRORS(gelu, gelu_) ERRORS(gelu_tanh, gelu_tanh_) ERRORS(rsqrt, rsqrt_)

void errors_pow(const double *x, const double *y, const double *got, double *errors, int64_t n) {
  for (int64_t i = 0; i < n; i++) errors[i] = error(got[i], powq(x[i], y[i]));
}
