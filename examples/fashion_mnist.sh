#!/usr/bin/env bash
# Trains Fashion-MNIST (Debian package dataset-fashion-mnist) on 2 ranks to 0.90 test accuracy; overrides are passed on.
#   examples/fashion_mnist.sh                       a few minutes on two cores
#   examples/fashion_mnist.sh train.epochs=1 run.dir=runs/short
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x build/release/bin/trireme ] || launch/build release trireme_app
trireme=build/release/bin/trireme images=/usr/share/datasets/fashion-mnist
mkdir -p data
[ -f data/fashion.train.h5 ] || $trireme prepare idx $images/train-images-idx3-ubyte.gz $images/train-labels-idx1-ubyte.gz -o data/fashion.train.h5
[ -f data/fashion.test.h5 ] || $trireme prepare idx $images/t10k-images-idx3-ubyte.gz $images/t10k-labels-idx1-ubyte.gz -o data/fashion.test.h5
[ "$(id -u)" != 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1
exec mpirun -np 2 --bind-to none $trireme train configs/fashion_mnist.yaml "$@"
