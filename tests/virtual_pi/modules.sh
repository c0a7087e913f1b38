#!/bin/sh
# Builds gpio-sim.ko and irq_sim.ko for kernel $1 into /modules; in a throw-away tree, as it installs a compiler.
set -eu
release=$1
series=$(echo "$release" | cut -d . -f 1-2)
apt-get update
apt-get install -y --no-install-recommends "linux-headers-$release" make xz-utils
mkdir /source /modules
cd /source
apt-get download "linux-source-$series"
dpkg-deb --fsys-tarfile ./*.deb | tar -xO "./usr/src/linux-source-$series.tar.xz" | tar -xJ --strip-components 1 \
    "linux-source-$series/drivers/gpio/gpio-sim.c" "linux-source-$series/drivers/gpio/gpiolib.h" \
    "linux-source-$series/kernel/irq/irq_sim.c"
cp drivers/gpio/* kernel/irq/irq_sim.c /modules
cd /modules
# The kernel exports generic_handle_irq to modules, but not what irq_sim.c calls as a part of it.
sed -i 's/handle_simple_irq(irq_to_desc(\([^)]*\)))/generic_handle_irq(\1)/' irq_sim.c
grep -q MODULE_LICENSE irq_sim.c || printf '#include <linux/module.h>\nMODULE_LICENSE("GPL");\n' >>irq_sim.c
echo 'obj-m := gpio-sim.o irq_sim.o' >Makefile
make -C "/lib/modules/$release/build" M=/modules modules
