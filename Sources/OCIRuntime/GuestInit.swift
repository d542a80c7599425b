/// The program that makes a container of a directory inside the machine, and waits for its end.
///
/// In Perl, which every Debian has (perl-base is essential) and which starts in milliseconds: no other program that is
/// sure to be there can set groups, capabilities and limits and then run a program of another root. It does what runc
/// does on a host: namespaces, mounts, pivot_root(2), then waits for the word to start.
enum GuestInit {
    static let script = #"""
        use strict; use POSIX ();
        my $dir = shift; my $root = "$dir/rootfs"; my (%one, %many);
        $SIG{$_} = 'IGNORE' for qw(HUP INT QUIT TERM USR1 USR2 ALRM TSTP TTIN TTOU WINCH PIPE VTALRM PROF IO PWR);
        # Whoever reads this learns the process's id and that all is set up, or why not.
        open(my $ready, '>', "$dir/ready") or exit 125;
        $ready->autoflush(1);
        sub fail { print $ready "error $_[0]\n"; POSIX::_exit($_[1] || 125); }
        sub sys { my ($what, $n, @a) = @_; syscall($n, @a) == 0 or fail("$what: $!"); }
        sub put { my ($path, $text) = @_; open(my $f, '>', $path) or fail("$path: $!");
            defined syswrite($f, $text) or fail("$path: $!"); }
        sub get { my ($path) = @_; local $/; open(my $f, '<:raw', $path) or fail("$path: $!"); my $t = <$f>;
            return defined $t ? $t : ''; }
        sub mnt { my ($s, $t, $y, $f, $d) = @_; sys("mount $t", 165, $s, $t, $y, $f + 0, $d); }
        sub dirs { my ($path) = @_; my $at = '';
            for my $part (grep { length } split m{/}, $path) {
                $at .= "/$part"; -d $at or mkdir($at, 0755) or fail("mkdir $at: $!"); } }

        my @words = split(/\0/, get("$dir/spec"), -1); pop @words;
        while (@words) { my ($k, $v) = splice(@words, 0, 2); $one{$k} = $v; push @{$many{$k}}, $v; }
        sub all { return @{$many{$_[0]} || []}; }

        # Our own control group is the container's: the limits are its.
        if (defined $one{memory} || defined $one{pids}) {
            my ($own) = get('/proc/self/cgroup') =~ m{([^/\n]+)$}m or fail('control group: not found');
            put('/sys/fs/cgroup/cgroup.subtree_control', '+memory +pids');
            put("/sys/fs/cgroup/$own/memory.max", $one{memory}) if defined $one{memory};
            put("/sys/fs/cgroup/$own/pids.max", $one{pids}) if defined $one{pids};
        }
        # Names, mounts, processes, IPC and control groups of its own.
        sys('unshare', 272, 0x20000 | 0x4000000 | 0x8000000 | 0x20000000 | 0x2000000);
        my $pid = fork; defined $pid or fail("fork: $!");
        if ($pid) {
            print $ready "pid $pid\n"; close $ready;
            waitpid($pid, 0);
            POSIX::_exit($? & 127 ? 128 + ($? & 127) : $? >> 8);
        }
        sys('prctl', 157, 1, 9, 0, 0, 0);
        open(my $start, '+<', "$dir/start") or fail("start: $!");
        my %files; for (all('mount')) { my ($t, $n) = split / /; $files{$n} = get("$dir/files/$n") if $t eq 'file'; }
        if (defined $one{hostname}) { my $h = $one{hostname}; sys('sethostname', 170, $h, length $h); }
        mnt('none', '/', '', 0x4000 | 0x40000, '');
        mnt($root, $root, '', 0x1000 | 0x4000, '');
        my ($pts, $console) = (-1, -1);
        if ($one{terminal}) {
            # Carried over the change of root: the terminal keeps its name.
            my $path = '/dev/pts'; $pts = syscall(428, -100, $path, 0x80001); $pts >= 0 or fail("/dev/pts: $!");
            my $tty = readlink('/proc/self/fd/0') || '';
            $console = syscall(428, -100, $tty, 0x80001) if $tty =~ m{^/dev/pts/\d+$};
        }
        for (all('sysctl')) { my ($name, $value) = split / /, $_, 2; put("/proc/sys/$name", $value); }
        chdir $root or fail("chdir: $!");
        my ($here, $old) = ('.', '.');
        sys('pivot_root', 155, $here, $old); sys('umount', 166, $here, 2);
        chdir '/' or fail("chdir: $!");
        my $carry = sub { my ($fd, $to) = @_; my ($from, $t) = ('', $to);
            sys("mount $to", 429, $fd, $from, -100, $t, 4); };
        my @late;
        for (all('mount')) {
            my ($type, $flags, $data, $to) = split / /, $_, 4;
            if ($type eq 'file') { push @late, [$flags, $to]; next; }
            dirs($to);
            if ($type eq 'devpts' && $pts >= 0) { $carry->($pts, $to); next; }
            mnt($type, $to, $type, $flags, $data);
        }
        for (@late) {
            my ($n, $to) = @$_; my ($parent) = $to =~ m{^(.*)/}; dirs($parent);
            unlink $to if -l $to; put($to, $files{$n});
        }
        dirs('/dev');
        my %nodes = (null => [1, 3], zero => [1, 5], full => [1, 7], random => [1, 8], urandom => [1, 9], tty => [5, 0]);
        for my $name (keys %nodes) {
            my $path = "/dev/$name"; my ($major, $minor) = @{$nodes{$name}};
            next if -c $path;
            unlink $path;
            sys("mknod $path", 133, $path, 0020666, $major << 8 | $minor); chmod 0666, $path;
        }
        my %links = (fd => '/proc/self/fd', stdin => '/proc/self/fd/0', stdout => '/proc/self/fd/1',
            stderr => '/proc/self/fd/2', ptmx => 'pts/ptmx');
        for (keys %links) { symlink($links{$_}, "/dev/$_") unless -l "/dev/$_"; }
        if ($console >= 0) { put('/dev/console', ''); $carry->($console, '/dev/console'); }
        for (all('readonly')) { next unless -e $_;
            mnt($_, $_, '', 0x1000 | 0x4000, ''); mnt('', $_, '', 0x1000 | 0x20 | 1, ''); }
        for (all('mask')) { next unless -e $_;
            -d $_ ? mnt('tmpfs', $_, 'tmpfs', 1, 'size=0') : mnt('/dev/null', $_, '', 0x1000, ''); }
        if ($one{readonlyroot}) { mnt('', '/', '', 0x1000 | 0x20 | 1, ''); }

        -d $one{cwd} || $one{readonlyroot} or dirs($one{cwd});
        for (all('rlimit')) { my ($n, $soft, $hard) = split / /; my $limit = pack('QQ', $soft, $hard);
            sys("limit $n", 160, $n + 0, $limit); }
        my %keep = map { $_ => 1 } all('cap');
        for my $n (0 .. 63) {
            next if $keep{$n} || syscall(157, 23, $n, 0, 0, 0) < 0;
            sys("capability $n", 157, 24, $n, 0, 0, 0);
        }
        my $groups = pack('L*', all('group')); sys('setgroups', 116, scalar(all('group')), $groups);
        sys('setgid', 106, $one{gid} + 0);
        sys('setuid', 105, $one{uid} + 0);
        sys('no_new_privs', 157, 38, 1, 0, 0, 0) if $one{nonewprivs};
        umask($one{umask} + 0);
        chdir $one{cwd} or fail("chdir to cwd ('$one{cwd}'): $!");
        %ENV = (); for (all('env')) { my ($name, $value) = split /=/, $_, 2; $ENV{$name} = $value; }
        my @args = all('arg'); my $path = $args[0];
        if ($path !~ m{/}) {
            my @places = map { $_ eq '' ? '.' : $_ } split(/:/, $ENV{PATH} || '/bin:/usr/bin', -1);
            ($path) = grep { -f $_ && -x _ } map { "$_/$args[0]" } @places;
            defined $path or fail("executable file `$args[0]` not found in \$PATH: No such file or directory", 127);
        } elsif (!-e $path) { fail("exec: `$path`: stat $path: no such file or directory", 127);
        } elsif (!-f _ || !-x _) { fail("exec: `$path`: permission denied", 126); }
        print $ready "ready\n"; close $ready;
        sysread($start, my $word, 1) or POSIX::_exit(125);
        $SIG{$_} = 'DEFAULT'
            for qw(HUP INT QUIT TERM USR1 USR2 ALRM TSTP TTIN TTOU WINCH PIPE VTALRM PROF IO PWR FPE);
        { exec { $path } @args; }
        print STDERR "exec $path: $!\n"; POSIX::_exit(126);
        """#
}
