"""Figures of processors that the machine is not: QEMU's user mode runs the same Python with another CPU's features."""
