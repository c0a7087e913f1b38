#!/bin/sh
# Makes a chip of the label and size of a Raspberry Pi 4's, and /run/gpio, a link to what its lines are seen and pulled by.
set -eu
cd /sys/kernel/config/gpio-sim
mkdir pi pi/bank
echo pinctrl-bcm2711 >pi/bank/label
echo 58 >pi/bank/num_lines
echo 1 >pi/live
ln -sfn "/sys/devices/platform/$(cat pi/dev_name)/$(cat pi/bank/chip_name)" /run/gpio
for pull in /run/gpio/sim_gpio*/pull; do
    echo pull-up >"$pull" # as a button that nobody presses
done
