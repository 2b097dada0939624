//! What a process has used, as Linux tells it.

use anyhow::Context as _;

use crate::args;

/// Ticks a second in /proc/PID/stat: 100 on every Linux that we know
/// (`getconf CLK_TCK`).
const TICKS_PER_SECOND: u64 = 100;

/// Processor time that the process has used so far, user and system, in
/// microseconds; a tick is 10,000.
///
/// # Errors
///
/// There is no such process, or no /proc.
pub(crate) fn cpu_micros(pid: u32) -> anyhow::Result<u64> {
    cpu(pid, 2)
}

/// The same of the process and its children, those that have ended too.
///
/// # Errors
///
/// There is no such process, or no /proc.
pub(crate) fn family_cpu_micros(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children =
        std::fs::read_to_string(&path).with_context(|| format!("{path} is not readable"))?;
    let children = children.split_whitespace().filter_map(|it| it.parse().ok());
    // One that ends just now is counted with its parent.
    let living = children.filter_map(|child| cpu_micros(child).ok());
    Ok(cpu(pid, 4)? + living.sum::<u64>())
}

/// Processor time of a server and of all processes of its database, as far as
/// they are known.
///
/// # Errors
///
/// What is said to be a process is none.
pub(crate) fn both_cpu_micros(server: &args::Server) -> anyhow::Result<(Option<u64>, Option<u64>)> {
    let database = server.database_pid.map(family_cpu_micros).transpose()?;
    Ok((server.pid.map(cpu_micros).transpose()?, database))
}

/// The sum of the first `count` of: own time as user and system, that of children
/// that have ended as user and system.
fn cpu(pid: u32, count: usize) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("{path} is not readable"))?;
    // The name, in parentheses, may hold anything; the fields after it are
    // numbers: state is the first, utime the 12th, then stime, cutime and cstime.
    let (_, fields) = stat.rsplit_once(')').context("stat without a name")?;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(count)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(ticks * (1_000_000 / TICKS_PER_SECOND))
}

/// Resident memory of the process in KiB.
///
/// # Errors
///
/// There is no such process, or no /proc.
pub(crate) fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status =
        std::fs::read_to_string(&path).with_context(|| format!("{path} is not readable"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .with_context(|| format!("{path} has no VmRSS"))
}

/// How many files the process may open; without one, this process.
///
/// # Errors
///
/// There is no such process, or no /proc.
pub(crate) fn files_max(pid: Option<u32>) -> anyhow::Result<usize> {
    let pid = pid.unwrap_or_else(std::process::id);
    let path = format!("/proc/{pid}/limits");
    let limits =
        std::fs::read_to_string(&path).with_context(|| format!("{path} is not readable"))?;
    let soft = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next())
        .with_context(|| format!("{path} has no limit of open files"))?;
    // The other word is "unlimited".
    Ok(soft.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_used_memory_and_time() {
        let own = std::process::id();
        assert!(resident_kib(own).unwrap() > 100);
        assert!(cpu_micros(own).unwrap() <= family_cpu_micros(own).unwrap());
        assert!(resident_kib(u32::MAX).is_err());
        assert!(files_max(None).unwrap() > 10);
    }
}
