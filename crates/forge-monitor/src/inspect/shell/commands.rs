//! The names of commands.

/// How much the name of a command tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// It is none.
    None,
    /// A word of a language as well: `find`, `more`, `time`.
    Word,
    /// A name or an abbreviation that stands in texts as well: `cat`, `id`, `ping`.
    Maybe,
    /// Nothing else.
    Sure,
}

/// What `name`, in lower case, is.
pub(super) fn look_up(name: &[u8]) -> Command {
    let name = without_version(name);
    if name.len() < 2 || name.len() > 24 {
        return if name == b"w" {
            Command::Word
        } else {
            Command::None
        };
    }
    match name {
        // Unix.
        b"whoami" | b"ifconfig" | b"netstat" | b"uname" | b"wget" | b"curl" | b"nslookup"
        | b"traceroute" | b"tcpdump" | b"nmap" | b"ncat" | b"netcat" | b"socat" | b"telnet"
        | b"lynx" | b"lwp-download" | b"lwp-request" | b"lwp-mirror" | b"fetch" | b"rsync"
        | b"scp" | b"sftp" | b"ssh" | b"chmod" | b"chown" | b"chgrp" | b"chattr" | b"chroot"
        | b"passwd" | b"useradd" | b"usermod" | b"userdel" | b"adduser" | b"crontab"
        | b"systemctl" | b"journalctl" | b"initctl" | b"insmod" | b"modprobe" | b"lsmod"
        | b"lsof" | b"lspci" | b"lsusb" | b"lsblk" | b"lscpu" | b"mkfifo" | b"mknod" | b"mkdir"
        | b"rmdir" | b"pwd" | b"printenv" | b"bash" | b"dash" | b"zsh" | b"ksh" | b"csh"
        | b"tcsh" | b"fish" | b"busybox" | b"perl" | b"python" | b"ruby" | b"php" | b"lua"
        | b"tclsh" | b"node" | b"nodejs" | b"awk" | b"gawk" | b"mawk" | b"nawk" | b"sed"
        | b"grep" | b"egrep" | b"fgrep" | b"zgrep" | b"xargs" | b"base32" | b"base64" | b"xxd"
        | b"hexdump" | b"strace" | b"ltrace" | b"gdb" | b"gcc" | b"g++" | b"cc" | b"nohup"
        | b"setsid" | b"pkill" | b"killall" | b"pgrep" | b"pidof" | b"ps" | b"dmesg"
        | b"hostname" | b"ipconfig" | b"systeminfo" | b"tasklist" | b"taskkill" | b"netsh"
        | b"powershell" | b"pwsh" | b"cscript" | b"wscript" | b"certutil" | b"bitsadmin"
        | b"rundll32" | b"regsvr32" | b"mshta" | b"wmic" | b"schtasks" | b"findstr" | b"gunzip"
        | b"zcat" | b"bzcat" | b"xzcat" | b"zstdcat" | b"bunzip2" | b"bsdtar" | b"unzip"
        | b"bzip2" | b"gzip" | b"tar" | b"cpio" | b"mysqldump" | b"psql" | b"sqlite3"
        | b"mysqladmin" | b"pg_dump" | b"openssl" | b"apt-get" | b"aptitude" | b"dpkg" | b"yum"
        | b"dnf" | b"rpm" | b"pacman" | b"snap" | b"pip" | b"npm" | b"gem" | b"printf"
        | b"readlink" | b"realpath" | b"dirname" | b"basename" | b"mktemp" | b"tee"
        | b"cpulimit" | b"flock" | b"ionice" | b"taskset" | b"unshare" | b"nsenter" | b"sudo"
        | b"doas" | b"su" | b"getent" | b"groups" | b"finger" | b"lastlog" | b"iptables"
        | b"ufw" | b"nft" | b"ip6tables" | b"iwconfig" | b"ethtool" | b"arp" | b"mkfs"
        | b"fdisk" | b"umount" | b"dd" | b"shred" | b"tailf" | b"nano" | b"vim" | b"emacs"
        | b"ansible" | b"ansible-playbook" | b"ansible-config" | b"ansible-galaxy"
        | b"ansible-console" | b"ansible-doc" | b"ansible-inventory" | b"ansible-pull"
        | b"ansible-vault" | b"docker" | b"kubectl" | b"podman" | b"git" | b"svn" | b"aria2c"
        | b"axel" | b"httpie" | b"sendmail" | b"mailx" | b"mutt" | b"dig" | b"perf" | b"stdbuf"
        | b"unlzma" | b"lzcat" | b"zless" | b"zmore" | b"zdiff" | b"lzmore" | b"hping3" | b"ss"
        | b"nc" | b"winget" | b"regedit" | b"procdump" | b"sh" | b"rm" | b"ls" | b"mv" | b"cp"
        | b"ln" | b"vi" | b"openvt" | b"rbash" | b"ash" | b"mysql" | b"mongo" | b"mongodump"
        | b"redis-cli" | b"ffmpeg" | b"convert.exe" | b"msiexec" | b"nbtstat" | b"dnscat"
        | b"tftp" | b"arping" | b"tracepath" | b"tracert" | b"reg.exe" | b"net.exe"
        | b"cmd.exe" | b"osascript" | b"screencapture" | b"launchctl" | b"dscl" | b"pbpaste"
        | b"xterm" | b"rcat" | b"unexpand" | b"setfacl" | b"getfacl" | b"sysctl" | b"rlwrap"
        | b"valgrind" | b"wall" | b"lsb_release" | b"timedatectl" | b"hostnamectl"
        | b"loginctl" | b"nproc" | b"apk" | b"cargo" | b"rustc" | b"javac" | b"phpinfo"
        | b"cksum" | b"md5sum" | b"sha1sum" | b"sha256sum" | b"uuencode" | b"xmodmap" | b"ptx"
        | b"rev" | b"tac" | b"nl" | b"od" => Command::Sure,
        // Names and abbreviations of other things as well.
        b"cat" | b"id" | b"ping" | b"ping6" | b"cd" | b"ftp" | b"env" | b"cmd" | b"dir"
        | b"del" | b"gh" | b"java" | b"make" | b"cmake" | b"man" | b"df" | b"du" | b"ip"
        | b"wc" | b"vdir" | b"bc" | b"ed" | b"ex" | b"pr" | b"tr" | b"uniq" | b"diff" | b"echo"
        | b"sleep" | b"eval" | b"exec" | b"system" | b"shell_exec" | b"passthru" | b"popen"
        | b"proc_open" | b"source" | b"export" | b"unset" | b"alias" | b"whois" | b"reboot"
        | b"shutdown" | b"halt" | b"poweroff" | b"uptime" | b"history" | b"locate" | b"whereis"
        | b"which" | b"apt" | b"brew" | b"zip" | b"rar" | b"7z" | b"ar" | b"as" | b"strings"
        | b"tail" | b"fmt" | b"comm" | b"fold" | b"hd" | b"tty" | b"stty" | b"unlink"
        | b"logger" | b"ls-l" | b"netstat.exe" | b"route" | b"whoami.exe" | b"lpr" | b"tex"
        | b"column" | b"bridge" | b"attrib" | b"xcopy" | b"robocopy" | b"rd" | b"rem" | b"ver"
        | b"vol" | b"tree" | b"ipconfig.exe" | b"logname" | b"mail" | b"crash" | b"scanf"
        | b"iex" | b"irm" | b"iwr" | b"gci" | b"gc" | b"ps1" | b"csplit" | b"tclsh8"
        | b"expand" | b"users" | b"who" | b"touch" | b"kill" | b"killpg" | b"renice" | b"nice"
        | b"timeout" | b"dos2unix" => Command::Maybe,
        // Words.
        b"find" | b"more" | b"less" | b"head" | b"sort" | b"cut" | b"at" | b"date" | b"time"
        | b"watch" | b"file" | b"split" | b"test" | b"type" | b"set" | b"net" | b"host"
        | b"top" | b"last" | b"link" | b"look" | b"join" | b"paste" | b"read" | b"write"
        | b"wait" | b"mount" | b"install" | b"service" | b"start" | b"call" | b"copy" | b"move"
        | b"ren" | b"rename" | b"query" | b"pause" | b"print" | b"run" | b"script" | b"screen"
        | b"stat" | b"sum" | b"sync" | b"free" | b"jobs" | b"let" | b"local" | b"true"
        | b"false" | b"return" | b"exit" | b"command" | b"builtin" | b"declare" | b"trap"
        | b"ulimit" | b"umask" | b"yes" | b"seq" | b"expr" | b"factor" | b"batch" | b"cal"
        | b"clear" | b"info" | b"help" | b"hash" | b"login" | b"logout" | b"talk" | b"tmux"
        | b"go" | b"rake" | b"task" | b"view" | b"arch" | b"up" | b"open" | b"say" | b"for"
        | b"while" | b"if" | b"reg" | b"sc" | b"sysinfo" | b"convert" | b"identify"
        | b"display" | b"import" | b"dialog" | b"column1" | b"bind" | b"nft1" | b"capsh"
        | b"tic" | b"cancel" => Command::Word,
        _ => Command::None,
    }
}

/// `python3.10` and `perl5` are `python` and `perl`; `.exe` is the same program.
fn without_version(name: &[u8]) -> &[u8] {
    let name = name.strip_suffix(b".exe").unwrap_or(name);
    for stem in [
        &b"python"[..],
        b"perl",
        b"php",
        b"ruby",
        b"lua",
        b"gcc",
        b"pip",
    ] {
        if let Some(rest) = name.strip_prefix(stem)
            && !rest.is_empty()
            && rest
                .iter()
                .all(|byte| byte.is_ascii_digit() || *byte == b'.')
        {
            return stem;
        }
    }
    name
}

/// Whether the name alone shows what is meant: a command that only looks around.
pub(super) fn is_telling(name: &[u8]) -> bool {
    matches!(
        name,
        b"whoami"
            | b"ifconfig"
            | b"ipconfig"
            | b"netstat"
            | b"systeminfo"
            | b"tasklist"
            | b"printenv"
            | b"uname"
    )
}

/// Whether a command is the name of a product, a language or a tool of developers too, of which
/// people write: `x | Python`, `` `git add` ``.
pub(super) fn is_product(name: &[u8]) -> bool {
    matches!(
        without_version(name),
        b"python"
            | b"perl"
            | b"php"
            | b"ruby"
            | b"lua"
            | b"node"
            | b"nodejs"
            | b"git"
            | b"svn"
            | b"docker"
            | b"kubectl"
            | b"podman"
            | b"ansible"
            | b"npm"
            | b"pip"
            | b"gem"
            | b"cargo"
            | b"rustc"
            | b"javac"
            | b"mysql"
            | b"psql"
            | b"mongo"
            | b"sqlite3"
            | b"openssl"
            | b"gcc"
            | b"g++"
            | b"cc"
            | b"gdb"
            | b"emacs"
            | b"vim"
            | b"nano"
            | b"valgrind"
            | b"perf"
            | b"ffmpeg"
            | b"apk"
            | b"snap"
            | b"dnf"
            | b"yum"
            | b"rpm"
            | b"pacman"
            | b"dpkg"
            | b"apt-get"
            | b"apt"
            | b"brew"
            | b"systemctl"
            | b"journalctl"
            | b"make"
            | b"cmake"
            | b"java"
            | b"gh"
            | b"bash"
            | b"zsh"
            | b"fish"
            | b"dash"
            | b"rev"
            | b"nl"
            | b"ss"
            | b"cp"
            | b"mv"
            | b"dd"
    )
}

/// Whether an attacker would run it to look around, to wait, or to reach out.
pub(super) fn is_probe(name: &[u8]) -> bool {
    is_telling(name)
        || matches!(
            name,
            b"id"
                | b"ls"
                | b"pwd"
                | b"ps"
                | b"cat"
                | b"ping"
                | b"sleep"
                | b"wget"
                | b"curl"
                | b"nslookup"
                | b"dig"
                | b"nc"
                | b"ncat"
                | b"netcat"
                | b"telnet"
                | b"bash"
                | b"sh"
                | b"rm"
                | b"echo"
                | b"env"
                | b"dir"
                | b"hostname"
                | b"passwd"
                | b"lsof"
                | b"touch"
                | b"reboot"
                | b"shutdown"
                | b"cmd"
                | b"powershell"
                | b"perl"
                | b"python"
                | b"php"
                | b"uptime"
                | b"who"
        )
}

/// Whether a product is a shell, which runs what it reads.
pub(super) fn is_shell(name: &[u8]) -> bool {
    matches!(name, b"bash" | b"zsh" | b"fish" | b"dash")
}

/// What somebody would use a command for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// To read, change or delete files.
    Files,
    /// To run code.
    Code,
    /// To reach another machine.
    Net,
    /// To see by the time that it runs.
    Wait,
    Other,
}

pub(super) fn use_of(name: &[u8]) -> Use {
    match without_version(name) {
        b"rm" | b"shred" | b"dd" | b"mv" | b"cp" | b"chmod" | b"chown" | b"tee" | b"touch"
        | b"cat" | b"tac" | b"head" | b"tail" | b"more" | b"less" | b"nl" | b"od" | b"xxd"
        | b"base64" | b"strings" | b"grep" | b"find" | b"ls" | b"dir" | b"ln" | b"mkfs"
        | b"crontab" | b"echo" | b"printf" | b"tar" | b"zip" => Use::Files,
        b"sh" | b"bash" | b"dash" | b"ash" | b"zsh" | b"ksh" | b"csh" | b"tcsh" | b"fish"
        | b"rbash" | b"perl" | b"python" | b"php" | b"ruby" | b"lua" | b"node" | b"nodejs"
        | b"tclsh" | b"awk" | b"gawk" | b"mawk" | b"powershell" | b"pwsh" | b"cmd" | b"source"
        | b"eval" => Use::Code,
        b"nc" | b"ncat" | b"netcat" | b"socat" | b"telnet" | b"curl" | b"wget" | b"fetch"
        | b"ping" | b"nslookup" | b"dig" | b"host" | b"ssh" | b"scp" | b"sftp" | b"ftp"
        | b"tftp" | b"rsync" | b"nmap" | b"lynx" | b"aria2c" => Use::Net,
        b"sleep" | b"timeout" => Use::Wait,
        _ => Use::Other,
    }
}

/// Whether a command runs the one that follows it.
pub(super) fn wraps(name: &[u8]) -> bool {
    matches!(
        name,
        b"sudo"
            | b"time"
            | b"nohup"
            | b"env"
            | b"exec"
            | b"command"
            | b"nice"
            | b"strace"
            | b"busybox"
            | b"then"
            | b"do"
            | b"else"
            | b"builtin"
            | b"doas"
            | b"setsid"
            | b"stdbuf"
            | b"xargs"
            | b"watch"
            | b"eval"
            | b"ltrace"
    )
}

/// Commands of PowerShell.
pub(super) const CMDLETS: &[&str] = &[
    "invoke-expression",
    "invoke-webrequest",
    "invoke-restmethod",
    "invoke-command",
    "invoke-item",
    "invoke-mimikatz",
    "invoke-wmimethod",
    "invoke-shellcode",
    "get-process",
    "get-childitem",
    "get-content",
    "get-service",
    "get-wmiobject",
    "get-ciminstance",
    "get-command",
    "get-credential",
    "get-eventlog",
    "get-item",
    "get-acl",
    "get-localuser",
    "get-aduser",
    "get-netipaddress",
    "get-location",
    "get-history",
    "get-help",
    "get-member",
    "get-variable",
    "new-object",
    "new-item",
    "new-service",
    "new-localuser",
    "start-process",
    "start-job",
    "start-service",
    "start-bitstransfer",
    "stop-process",
    "stop-service",
    "stop-computer",
    "set-executionpolicy",
    "set-content",
    "set-item",
    "set-mppreference",
    "set-location",
    "set-acl",
    "remove-item",
    "copy-item",
    "move-item",
    "rename-item",
    "add-type",
    "add-content",
    "add-mppreference",
    "out-file",
    "write-host",
    "write-output",
    "convertto-json",
    "convertfrom-json",
    "export-csv",
    "import-csv",
    "import-module",
    "downloadstring(",
    "downloadfile(",
    "test-connection",
    "test-path",
    "restart-computer",
    "clear-content",
    "clear-eventlog",
    "enter-pssession",
    "new-pssession",
    "register-scheduledtask",
    "select-string",
    "foreach-object",
    "where-object",
    "measure-object",
    "disable-netfirewallrule",
    "resolve-dnsname",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_commands_from_words() {
        assert_eq!(look_up(b"whoami"), Command::Sure);
        assert_eq!(look_up(b"python3.10"), Command::Sure);
        assert_eq!(look_up(b"cat"), Command::Maybe);
        assert_eq!(look_up(b"more"), Command::Word);
        assert_eq!(look_up(b"moreover"), Command::None);
    }
}
