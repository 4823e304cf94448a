#!/bin/sh
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Writes the hosts file of one collector: that of the host, and NAME with the addresses of all gateways. An ADDRESS is an IP address or a
# name, which is looked up. One that is not found is left out; without any the start fails, and systemd tries again.
# Usage: gateway_addresses.sh FILE NAME ADDRESS...
set -eu
file=$1 name=$2
shift 2
{
  cat /etc/hosts
  echo
} > "$file"
found=0
for address; do
  if lines=$(getent ahosts "$address" | sed -n "s/[[:space:]]*STREAM.*/ $name/p") && [ -n "$lines" ]; then
    echo "$lines" >> "$file"
    found=1
  else
    echo "The gateway $address is left out: its address is not found." >&2
  fi
done
if [ "$found" -eq 0 ]; then
  echo "No gateway has an address: check the names $* in DNS or /etc/hosts, or set observability_address of the gateways." >&2
  exit 1
fi
