"""Weights as the CPU kernels read them: padded to whole vectors, transposed for gradients."""

from fourdc_jax.kernels.cpu_call import shared

TILE = 16


@shared
def pack_offset(offset, weights, packed):
    """packed[offset, c_in, c_out] = weights[offset, c_in, c_out], further columns 0."""
    columns = weights.shape[2]
    for channel in range(weights.shape[1]):
        for column in range(columns):
            packed[offset, channel, column] = weights[offset, channel, column]
        for column in range(columns, packed.shape[2]):
            packed[offset, channel, column] = 0


@shared
def pack_transposed(offset, weights, packed):
    """packed[offset, c, d] = weights[offset, d, c], further columns 0; tile by tile."""
    columns, channels = weights.shape[1], weights.shape[2]
    for first_column in range(0, packed.shape[2], TILE):
        last_column = min(first_column + TILE, columns)
        for first_channel in range(0, channels, TILE):
            for channel in range(first_channel, min(first_channel + TILE, channels)):
                for column in range(first_column, last_column):
                    packed[offset, channel, column] = weights[offset, column, channel]
                for column in range(last_column, min(first_column + TILE, packed.shape[2])):
                    packed[offset, channel, column] = 0
