# GNU General Public License v3.0+ (see LICENSE)
# Runs inside the new host image, once. It makes a plain server that is cheap to start many times, and no more:
# everything that the collection should install is left out.
set -eu

# --- the user that Ansible comes in as; its public key arrives when a host starts
useradd --create-home --shell /bin/bash ansible
echo 'ansible ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ansible
chmod 0440 /etc/sudoers.d/ansible

cat > /etc/ssh/sshd_config.d/testbed.conf <<'END'
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ssh/testbed_authorized_keys
PasswordAuthentication no
UseDNS no
END
# Every host makes its own key, one kind only: quick.
rm -f /etc/ssh/ssh_host_*
mkdir -p /etc/systemd/system/ssh.service.d
cat > /etc/systemd/system/ssh.service.d/testbed.conf <<'END'
[Service]
ExecStartPre=
ExecStartPre=/bin/sh -c 'test -s /etc/ssh/ssh_host_ed25519_key || ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key'
ExecStartPre=/usr/sbin/sshd -t
END

# --- PID 1 starts through this: the engine gives each container its own view of the cgroups, but read-only. (Mounting
# the machine's /sys/fs/cgroup instead starts too, but then all hosts share one system.slice, limits and all.)
cat > /usr/local/sbin/testbed-init <<'END'
#!/bin/sh
set -eu
for mount in /sys/fs/cgroup /sys/fs/cgroup/*; do
    if mountpoint -q "$mount"; then mount -o remount,bind,rw "$mount"; fi
done
exec /sbin/init
END
chmod 0755 /usr/local/sbin/testbed-init

# --- logs: the journal in memory, and files by rsyslog for the collector to read
mkdir -p /etc/systemd/journald.conf.d
cat > /etc/systemd/journald.conf.d/testbed.conf <<'END'
[Journal]
Storage=volatile
RuntimeMaxUse=32M
ForwardToSyslog=yes
END
# The kernel's log belongs to the machine, not to a container.
sed -i '/imklog/d' /etc/rsyslog.conf

# --- units that make no sense in a container, or work on their own schedule
systemctl mask --quiet \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    getty.target console-getty.service systemd-logind.service systemd-udevd.service systemd-udev-trigger.service \
    systemd-networkd-wait-online.service systemd-firstboot.service systemd-remount-fs.service \
    dev-hugepages.mount dev-mqueue.mount sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount
systemctl set-default --quiet multi-user.target

# --- compiled code of Ansible's modules, see python/sitecustomize.py
mkdir /var/cache/groundwork-compiled

# --- packages that roles install are there as files, not installed: quick, and the host is still bare
echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/testbed
DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --download-only --install-recommends $HOST_DOWNLOADS
rm -f /var/cache/apt/*.bin
