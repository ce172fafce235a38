#!/bin/sh
# wheel.sh PYTHON FOLDER: build Horovod's last release against the torch that PYTHON has (PyTorch, gloo and Open MPI) and
# put its wheel, and those it needs at run time, into FOLDER. Needs g++, cmake, make and libopenmpi-dev; three minutes on two cores.
set -eu
python=$1 folder=$(mkdir -p "$2" && cd "$2" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv --system-site-packages "$work/venv"
# A venv made from a venv does not see the packages of that one by itself.
"$python" -c 'import site; print("\n".join(site.getsitepackages()))' > "$(echo "$work"/venv/lib/python3*/site-packages)/parent.pth"
pip="$work/venv/bin/python -m pip"
$pip install -q wheel setuptools packaging cloudpickle psutil pyyaml cffi
$pip download -q --no-deps --no-binary horovod --no-build-isolation -d "$work" horovod==0.28.1
tar xzf "$work"/horovod-0.28.1.tar.gz -C "$work"
cd "$work/horovod-0.28.1"
# torch's headers have asked for C++17 since 2.1, and the build sets 14 whatever CXXFLAGS says.
sed -i 's/set(CMAKE_CXX_STANDARD 14)/set(CMAKE_CXX_STANDARD 17)/' CMakeLists.txt horovod/torch/CMakeLists.txt
# Without debugging symbols: 2 MB and not 62.
sed -i '/^set(CMAKE_CXX_EXTENSIONS OFF)/a set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -DNDEBUG")' CMakeLists.txt
export HOROVOD_WITH_PYTORCH=1 HOROVOD_WITH_GLOO=1 HOROVOD_WITH_MPI=1 \
  HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1 HOROVOD_WITHOUT_NVTX=1
MAKEFLAGS="-j$(nproc)" PATH="$work/venv/bin:$PATH" $pip wheel -q --no-build-isolation --no-deps -w "$folder" .
$pip wheel -q -w "$folder" cloudpickle psutil pyyaml packaging cffi
