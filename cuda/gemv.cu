// A matrix times a vector, as decoding does: every weight is read once, and two flop are done on it.
//   weights [num_rows * 4 * num_vectors] fp32   row after row, a multiple of 4 columns
//   input [num_rows] fp32
//   partial [gridDim.y * 4 * num_vectors] fp32  part p holds the sums over rows p, p + gridDim.y, ...; added up over
//                                               the parts they are the product of the input and the matrix
//   num_rows uint64, num_vectors uint64         height, and width in vectors of 4 weights
//   launch  grid (x, y), 1-D blocks: the threads of x stride over a row's vectors, y over the rows
// Each thread keeps to its columns, so that no sum crosses threads; loads of a row lie next to each other.
#include "common.cuh"

struct alignas(16) Weights {
    float values[4];
};

extern "C" __global__ void gemv(const void* weights, const float* input, void* partial, unsigned long long num_rows,
                                unsigned long long num_vectors) {
    const Weights* rows = static_cast<const Weights*>(weights);
    Weights* sums = static_cast<Weights*>(partial) + blockIdx.y * num_vectors;
    for (unsigned long long column = grid_thread(); column < num_vectors; column += grid_num_threads()) {
        Weights sum = {{0.0f, 0.0f, 0.0f, 0.0f}};
#pragma unroll 8
        for (unsigned long long row = blockIdx.y; row < num_rows; row += gridDim.y) {
            const Weights mine = rows[row * num_vectors + column];
            const float factor = input[row];
#pragma unroll
            for (unsigned int k = 0; k < 4; ++k) sum.values[k] = fmaf(mine.values[k], factor, sum.values[k]);
        }
        sums[column] = sum;
    }
}
