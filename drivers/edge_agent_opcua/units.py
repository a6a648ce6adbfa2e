"""The engineering units of OPC UA as texts. Pure.

A server names a unit by its UN/CEFACT common code (UN/ECE Recommendation 20), as a number: the bytes of the code
from the most significant one on (OPC 10000-8 §5.6.3). What is common on factory floors is written in UCUM here; of
the rest there is the text that the server shows.
"""

NAMESPACE = "http://www.opcfoundation.org/UA/units/un/cefact"

_TABLE = """
MTR m      4H um      MMT mm     CMT cm     DMT dm     KTM km     KMT km     C45 nm     INH [in_i] FOT [ft_i]
MTK m2     MMK mm2    CMK cm2    DMK dm2    MTQ m3     MMQ mm3    CMQ cm3    DMQ dm3    LTR L      MLT mL
HLT hL     4G uL      DLT dL     CLT cL     GLL [gal_us]
SEC s      MIN min    HUR h      DAY d      C26 ms     B98 us     C47 ns
C81 rad    C25 mrad   DD deg     D61 '      D62 ''     2A rad/s   E96 deg/s  2B rad/s2
MTS m/s    KMH km/h   C16 mm/s   2M cm/s    H81 mm/min 2X m/min   M60 m/h    M62 km/s
MSK m/s2   M41 mm/s2  M39 cm/s2  K40 [g]
HTZ Hz     KHZ kHz    MHZ MHz    A86 GHz    RPM {rev}/min M46 {rev}/min RPS {rev}/s C97 /s C94 /min  2N dB
KGM kg     GRM g      MGM mg     MC ug      TNE t      LBR [lb_av] ONZ [oz_av]
KMQ kg/m3  23 g/cm3   GJ g/mL    GL g/L     M1 mg/L    H29 ug/L   B35 kg/L   GP mg/m3   GQ ug/m3   A93 g/m3
KL kg/m    GF g/m     GM g/m2    28 kg/m2
NEW N      B47 kN     B73 MN     C20 mN     B92 uN
NU N.m     B48 kN.m   B74 MN.m   D83 mN.m   DN dN.m    J72 cN.m   F88 N.cm   F47 N/mm   4P N/m     B32 kg.m2
PAL Pa     KPA kPa    MPA MPa    A97 hPa    A89 GPa    BAR bar    MBR mbar   KBA kbar   PS [psi]   ATM atm
ATT att    C55 N/m2   C56 N/mm2  74 mPa     B96 uPa
C65 Pa.s   C24 mPa.s  S4 m2/s    C17 mm2/s  C7 cP      4C cSt
JOU J      KJO kJ     3B MJ      GV GJ      WHR W.h    KWH kW.h   MWH MW.h   GWH GW.h   J55 W.s
WTT W      KWT kW     MAW MW     A90 GW     C31 mW     D80 uW     D54 W/m2   D53 W/(m.K)
D46 V.A    KVA kV.A   MVA MV.A
KGS kg/s   E93 kg/h   F31 kg/min F29 g/s    F28 g/min  F27 g/h    E18 t/h    L71 t/d
MQS m3/s   MQH m3/h   G53 m3/min G52 m3/d   L2 L/min   G51 L/s    LD L/d     40 mL/s    41 mL/min  2J cm3/s
G49 cm3/min
KEL K      CEL Cel    FAH [degF] H13 Cel/min H14 Cel/s F12 K/s    F11 K/min
AMP A      B22 kA     4K mA      B84 uA     C39 nA     AMH A.h    COU C      TAH kA.h
VLT V      KVT kV     B78 MV     2Z mV      D82 uV     D50 V/m
OHM Ohm    B49 kOhm   B75 MOhm   E45 mOhm   B94 uOhm   SIE S      C27 mS     B99 uS     G42 uS/cm  H61 mS/cm
D10 S/m    FAR F      4O uF      C41 nF     4T pF      81 H       C14 mH     B90 uH     D33 T      C29 mT
WEB Wb     CDL cd     LUM lm     LUX lx     KLX klx
C34 mol    C18 mmol   C36 mol/m3 C38 mol/L  Q30 [pH]   NA mg/kg   BQL Bq     D13 Sv     A95 Gy
P1 %       59 [ppm]   C62 1
"""
UCUM = dict(zip(_TABLE.split()[::2], _TABLE.split()[1::2], strict=True))
"""By common code."""


def common_code(unit_id: int) -> str:
    """Return the common code that a number stands for; empty if it stands for none."""
    if unit_id <= 0:
        return ""
    code = unit_id.to_bytes(8, "big").lstrip(b"\0")
    return code.decode("ascii") if code.isalnum() else ""


def unit_text(namespace: str, unit_id: int, display_name: str) -> str:
    """Return what a unit is called here: in UCUM where that is known, or else as the server shows it."""
    code = common_code(unit_id) if namespace == NAMESPACE else ""
    return UCUM.get(code) or " ".join(display_name.split()) or code


def is_same(written: str, namespace: str, unit_id: int, display_name: str) -> bool:
    """Return whether somebody who wrote ``written`` means the unit that the server has."""
    code = common_code(unit_id) if namespace == NAMESPACE else ""
    return written in {UCUM.get(code, ""), " ".join(display_name.split()), code}
