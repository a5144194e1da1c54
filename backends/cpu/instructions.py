"""The machine instructions that generated code may consist of, architecture by architecture.

Of floats: those that IEEE 754 defines to the bit, in round-to-nearest. Not there: approximations
(``rcp``, ``rsqrt``, ``frecpe``), x87 and MMX, dot products with an order or a saturation of their
own, bf16 arithmetic (which flushes subnormals), anything that sets flags of the floating-point
environment, system calls. An instruction may need something of the function's LLVM IR.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

import capstone

Need = str  # a key of AuditReport.functions; "" for none


@dataclass(frozen=True)
class Architecture:
    """``allowed`` has the instructions and what each needs. An operand that matches ``refused``
    makes any instruction refused. ``padding`` may lie between functions."""

    disassembler: tuple[int, int]  # of capstone: architecture, mode
    allowed: Mapping[str, Need]
    refused: re.Pattern[str]
    padding: frozenset[str]

    @property
    def fused(self) -> frozenset[str]:
        """The fused multiply-adds."""
        return frozenset(name for name, need in self.allowed.items() if need == "llvm.fma")

    def need(self, mnemonic: str, operands: str) -> Need | None:
        """What the IR must have for this instruction; ``None`` where it is not allowed at all."""
        if self.refused.search(f"{mnemonic} {operands}"):
            return None
        return self.allowed.get(mnemonic)


def _words(*patterns: str) -> list[str]:
    """The words of these patterns, in which ``{a,b}`` stands for ``a`` and for ``b``, and ``~`` for
    a space."""
    words: list[str] = []
    for pattern in " ".join(patterns).split():
        parts = re.split(r"\{([^}]*)\}", pattern)
        choices = [p.split(",") if i % 2 else [p] for i, p in enumerate(parts)]
        words += ("".join(choice).replace("~", " ") for choice in product(*choices))
    return words


def _needing(need: Need, words: Iterable[str]) -> dict[str, Need]:
    return dict.fromkeys(words, need)


# x86-64, in the names of SSE; AVX has the same with a v before them.

_CONDITIONS = "a,ae,b,be,e,ne,g,ge,l,le,o,no,p,np,s,ns"
_X86_GENERAL = _words(
    f"j{{{_CONDITIONS}}} set{{{_CONDITIONS}}} cmov{{{_CONDITIONS}}} call jmp ret push pop nop",
    "mov movabs movzx movsx movsxd movbe lea xchg cbw cwd cwde cdq cdqe cqo leave",
    "add sub adc sbb inc dec neg mul imul mulx div idiv cmp test and or xor not andn",
    "shl shr sar sal rol ror rorx shld shrd shlx shrx sarx bt bts btr btc bsf bsr bswap",
    "lzcnt tzcnt popcnt bextr bzhi blsi blsmsk blsr pdep pext",
    "pause prefetch{t0,t1,t2,nta} mfence sfence lfence ud2 vzeroupper vzeroall endbr64",
    "lock~{inc,dec,xadd,add,sub,and,or,xor,cmpxchg}",
    "cmpxchg xadd rep~stosb rep~stosd rep~stosq rep~movsb rep~movsd rep~movsq",
)
_COMPARISONS = "eq,lt,le,unord,neq,nlt,nle,ord,eq_uq,nge,ngt,neq_oq,ge,gt,false,true"
_X86_FLOAT = _words(
    "{add,sub,mul,min,max}{ps,pd,ss,sd} h{add,sub}{ps,pd} addsub{ps,pd}",
    "{and,andn,or,xor}{ps,pd} {,u}comis{s,d} round{ps,pd,ss,sd} rndscale{ps,pd,ss,sd}",
    f"cmp{{{_COMPARISONS}}}{{ps,pd,ss,sd}} fpclass{{ps,pd,ss,sd}}",
    "cvt{ps2pd,pd2ps,ss2sd,sd2ss,ph2ps,ps2ph,dq2ps,dq2pd,si2ss,si2sd,usi2ss,usi2sd}",
    "cvt{udq2ps,udq2pd,qq2ps,qq2pd,uqq2ps,uqq2pd}",
    "cvt{,t}{ps2dq,pd2dq,ss2si,sd2si,ps2udq,pd2udq,ss2usi,sd2usi,ps2qq,pd2qq,ps2uqq,pd2uqq}",
)
_X86_MOVES = _words(
    "mov{aps,apd,ups,upd,ss,sd,d,q,dqa,dqu,hps,hpd,lps,lpd,hlps,lhps,ddup,shdup,sldup}",
    "movdqa{32,64} movdqu{8,16,32,64} movmskp{s,d} movnt{ps,pd,dq,dqa} lddqu maskmov{ps,pd}",
    "blend{ps,pd} blendv{ps,pd} blendm{ps,pd} shuf{ps,pd} unpck{l,h}{ps,pd} insertps extractps",
    "broadcast{ss,sd,f128,i128,f32x2,i32x2} broadcast{f,i}{32x4,64x2,32x8,64x4}",
    "{insert,extract}{f128,i128} {insert,extract}{f,i}{32x4,64x2,32x8,64x4}",
    "perm2{f,i}128 perm{b,w,d,q,ps,pd} permil{ps,pd} permi2{b,w,d,q,ps,pd}",
    "permt2{b,w,d,q,ps,pd} shuf{f,i}{32x4,64x2} align{d,q} {compress,expand}p{s,d}",
    "{gather,scatter}{d,q}{ps,pd} p{gather,scatter}{d,q}{d,q} testp{s,d} ptest",
    "k{mov,and,andn,or,xor,xnor,not,ortest,test,add}{b,w,d,q} kshift{l,r}{b,w,d,q}",
    "kunpck{bw,wd,dq}",
)
_X86_INTEGERS = _words(
    "p{add,sub}{b,w,d,q} p{add,sub}{s,us}{b,w} pmul{lw,ld,lq,dq,udq,hw,huw} pmull{w,d,q}",
    "pmaddwd psadbw pavg{b,w} phadd{w,d} phsub{w,d} psign{b,w,d} pabs{b,w,d,q} phminposuw",
    "p{max,min}{s,u}{b,w,d,q} pcmp{eq,gt}{b,w,d,q} pcmp{,n}{le,lt}{,u}{b,w,d,q}",
    "pcmp{eq,neq}{,u}{b,w,d,q} pand{,n}{,d,q} p{or,xor}{,d,q} pternlog{d,q}",
    "ptest{m,nm}{b,w,d,q} psll{w,d,q,dq} psrl{w,d,q,dq} psra{w,d,q} psllv{w,d,q} psrlv{w,d,q}",
    "psrav{w,d,q} prol{d,q} prolv{d,q} pror{d,q} prorv{d,q} pshld{w,d,q} pshrd{w,d,q}",
    "pack{ss,us}{wb,dw} punpck{l,h}{bw,wd,dq,qdq} pshuf{b,d,lw,hw} palignr pmovmskb",
    "pblend{w,vb,d} pblendm{b,w,d,q} pbroadcast{b,w,d,q} pbroadcastm{b2q,w2d}",
    "pinsr{b,w,d,q} pextr{b,w,d,q} pmov{sx,zx}{bw,bd,bq,wd,wq,dq} pmaskmov{d,q}",
    "pmov{wb,db,dw,qb,qw,qd} pmov{b,w,d,q}2m pmovm2{b,w,d,q} {pcompress,pexpand}{b,w,d,q}",
    "plzcnt{d,q} popcnt{b,w,d,q} pconflict{d,q} pdpbusd pdpwssd",
)
_X86_FMA = _words("f{,n}m{add,sub}{132,213,231}{ps,pd,ss,sd} fm{addsub,subadd}{132,213,231}{ps,pd}")


def _with_avx(words: Iterable[str]) -> list[str]:
    return [name for word in words for name in (word, "v" + word)]


_X86 = Architecture(
    disassembler=(capstone.CS_ARCH_X86, capstone.CS_MODE_64),
    allowed={
        **_needing("", _X86_GENERAL),
        **_needing("", _with_avx([*_X86_FLOAT, *_X86_MOVES, *_X86_INTEGERS])),
        **_needing("llvm.fma", ["v" + w for w in _X86_FMA]),
        **_needing("llvm.sqrt", _with_avx(_words("sqrt{ps,pd,ss,sd}"))),
        **_needing("fdiv", _with_avx(_words("div{ps,pd,ss,sd}"))),
        **_needing("llvm.x86.sse.ldmxcsr", _with_avx(["ldmxcsr"])),
        **_needing("llvm.x86.sse.stmxcsr", _with_avx(["stmxcsr"])),
        # Saturates in general. LLVM multiplies bytes with it, one of each pair of factors being 0.
        **_needing("mul i8", _with_avx(["pmaddubsw"])),
    },
    # Registers of MMX and x87; a rounding mode in the instruction; f16 rounded otherwise than to
    # nearest (0) or as the environment says (4).
    refused=re.compile(r"\bmm\d|\bst\(|\{r[duz]-sae\}|^v?cvtps2ph .*, (?![04]$)\w+$"),
    padding=frozenset(["nop", "int3"]),
)


# AArch64 (Advanced SIMD).

_A64_GENERAL = _words(
    "b bl blr br ret cbz cbnz tbz tbnz nop hint yield brk dmb dsb isb prfm prfum bti adr adrp",
    "b.{eq,ne,hs,lo,mi,pl,vs,vc,hi,ls,ge,lt,gt,le,al}",
    "mov movi movk movn movz mvn mvni fmov mrs cmp cmn tst ccmp ccmn cset csetm csel csinc csinv",
    "csneg cinc cinv cneg add adds sub subs neg negs adc adcs sbc sbcs ngc mul madd msub mneg",
    "smull umull smulh umulh smaddl umaddl smsubl umsubl udiv sdiv and ands orr orn eor eon bic",
    "bics bfi bfxil bfm ubfiz ubfx ubfm sbfiz sbfx sbfm extr ror lsl lsr asr sxtb sxth sxtw uxtb",
    "uxth uxtw rbit rev rev16 rev32 rev64 clz cls cnt",
    "ld{,u}r{,b,h,sb,sh,sw} ldur{b,h,sb,sh,sw} st{,u}r{,b,h} ldp stp ldnp stnp ldpsw",
    "ld{1,2,3,4} ld{1,2,3,4}r st{1,2,3,4} lda{r,rb,rh,xr,xrb,xrh} stl{r,rb,rh,xr,xrb,xrh}",
    "ldxr stxr ld{add,clr,set,eor,smax,smin,umax,umin}{,a,l,al} swp{,a,l,al} cas{,a,l,al}",
    "stadd stclr clrex",
)
_A64_FLOAT = _words(
    "fadd fsub fmul fnmul fabs fneg fabd fmax fmin fmaxnm fminnm faddp fmaxp fminp fmax{,nm}v",
    "fmin{,nm}v fcmp fcmpe fccmp fccmpe fcsel fcm{eq,gt,ge,le,lt} fac{gt,ge}",
    "fcvt fcvt{l,l2,n,n2} fcvt{zs,zu,as,au,ms,mu,ns,nu,ps,pu} scvtf ucvtf",
    "frint{a,i,m,n,p,x,z}",
)
_A64_INTEGERS = _words(
    "abs addp addv addhn{,2} subhn{,2} raddhn{,2} {s,u}{addl,subl,addw,subw}{,2} {s,u}addlp",
    "{s,u}addlv {s,u}adalp {s,u}abd {s,u}aba {s,u}abdl{,2} {s,u}abal{,2} {s,u}h{add,sub}",
    "{s,u}rhadd {s,u}q{add,sub} {s,u}{max,min}{,p,v} mla mls {s,u}{mull,mlal,mlsl}{,2}",
    "{s,u}dot usdot cm{eq,ge,gt,hi,hs,le,lt,tst} bif bit bsl",
    "{s,u}shl {s,u}shr {s,u}sra {s,u}shll{,2} shl shll{,2} sli sri shrn{,2} rshrn{,2} {s,u}xtl{,2}",
    "xtn{,2} {s,u}qxtn{,2} sqxtun{,2} dup ins ext zip{1,2} uzp{1,2} trn{1,2} tbl tbx {s,u}mov",
)
_A64_FMA = _words("fmla fmls fmadd fmsub fnmadd fnmsub")

_A64 = Architecture(
    disassembler=(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN),
    allowed={
        **_needing("", [*_A64_GENERAL, *_A64_FLOAT, *_A64_INTEGERS]),
        **_needing("llvm.fma", _A64_FMA),
        **_needing("llvm.sqrt", ["fsqrt"]),
        **_needing("fdiv", ["fdiv"]),
        **_needing("llvm.aarch64.set.fpcr", ["msr"]),
    },
    refused=re.compile(r"^m(?:sr|rs) (?!.*\bfpcr\b)"),
    padding=frozenset(["nop"]),
)


# RISC-V: RV64GC without its vectors.

_RV64_INTEGERS = _words(
    "add{,i,w,iw} sub{,w} and{,i} or{,i} xor{,i} sll{,i,w,iw} srl{,i,w,iw} sra{,i,w,iw}",
    "slt{,i,u,iu} lui auipc li mv not neg{,w} nop ret j jr jal jalr call tail la sext.w seqz snez",
    "sgtz sltz zext.b b{eq,ne,lt,ge,ltu,geu,gt,le,gtu,leu} b{eq,ne,le,ge,lt,gt}z",
    "mul{,h,hu,hsu,w} div{,u,w,uw} rem{,u,w,uw} l{b,bu,h,hu,w,wu,d} s{b,h,w,d} fence pause unimp",
    "amo{add,swap,and,or,xor,max,min,maxu,minu}.{w,d}{,.aq,.rl,.aqrl}",
    "{lr,sc}.{w,d}{,.aq,.rl,.aqrl}",
)
_RV64_COMPRESSED = _words(
    "c.{add,addi,addi16sp,addi4spn,addiw,addw,and,andi,beqz,bnez,j,jr,jalr,ld,ldsp,li,lui,lw,lwsp}",
    "c.{mv,nop,or,sd,sdsp,slli,srai,srli,sub,subw,sw,swsp,xor,fld,fldsp,fsd,fsdsp,unimp,ebreak}",
)
_RV64_FLOAT = _words(
    "f{l,s}{w,d} f{add,sub,mul,min,max,sgnj,sgnjn,sgnjx}.{s,d} f{eq,lt,le}.{s,d} fclass.{s,d}",
    "f{mv,neg,abs}.{s,d} fmv.{w.x,x.w,d.x,x.d,s.x,x.s} fcvt.{s.d,d.s}",
    "fcvt.{w,wu,l,lu}.{s,d} fcvt.{s,d}.{w,wu,l,lu}",
)
_RV64_FMA = _words("f{madd,msub,nmadd,nmsub}.{s,d}")

_RV64 = Architecture(
    disassembler=(capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV64 | capstone.CS_MODE_RISCVC),
    allowed={
        **_needing("", [*_RV64_INTEGERS, *_RV64_COMPRESSED, *_RV64_FLOAT]),
        **_needing("llvm.fma", _RV64_FMA),
        **_needing("llvm.sqrt", _words("fsqrt.{s,d}")),
        **_needing("fdiv", _words("fdiv.{s,d}")),
        **_needing("llvm.get.rounding", ["frrm"]),
        **_needing("llvm.set.rounding", ["fsrm", "fsrmi"]),
    },
    # A conversion to an integer may truncate; nothing else may say how it rounds.
    refused=re.compile(r"^(?!fcvt\.[wl]u?\.)f.*, r(?:tz|dn|up|mm)$"),
    padding=frozenset(["nop", "c.nop", "c.unimp", "unimp"]),
)

ARCHITECTURES = {62: _X86, 183: _A64, 243: _RV64}
"""By ELF's number of the machine (e_machine)."""
