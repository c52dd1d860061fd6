# Spack recipe. Written from INSTALL.md's list of dependencies; it has not been run through Spack.
# Use: spack repo create hrm-repo; copy this file to hrm-repo/packages/hrm/package.py; spack repo add hrm-repo;
#      spack dev-build hrm@main in a checkout.
from spack.package import *


class Hrm(CMakePackage):
    """Pre-training of hierarchical recurrent language models with MPI and parallel HDF5."""

    version("main")

    variant("tests", default=False, description="Build the test suite")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("cmake@3.25:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi")
    depends_on("hdf5@1.10: +mpi")
    depends_on("onednn@2.6:")
    depends_on("highway")
    depends_on("boost@1.71: +program_options")
    depends_on("nlohmann-json")
    depends_on("pcre2")
    depends_on("utf8proc")
    depends_on("fmt@8:")
    depends_on("zstd")
    depends_on("zlib-api")
    depends_on("googletest", when="+tests")

    generator("ninja")
    requires("%gcc@12:", policy="one_of", msg="C++20 as GCC 12 has it")

    def cmake_args(self):
        return [self.define_from_variant("HRM_BUILD_TESTS", "tests")]
