"""Faster exact arithmetic where PyTorch's own leaves something: 3×3 convolutions in float32 on a processor.

Four of five processors in hospitals and clusters have no bfloat16 units; there the body of every network here
is float32 convolutions, and Winograd's form does them with a quarter of the multiplications. It is C, compiled
once for the machine by the compiler found there (`library`); without one PyTorch's convolution is used.
"""
