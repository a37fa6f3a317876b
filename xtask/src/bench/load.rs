//! A small load: an upstream with a fixed answer, callers that keep their connection, and the CPU time
//! of a process from `/proc`.

use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// Serves the same small document on every request until the process ends.
pub fn upstream() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                // The gateway closed the connection: nothing more to serve on it.
                let _ = answer_all(stream);
            });
        }
    });
    Ok(address)
}

fn answer_all(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let body = "x".repeat(1024);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1024\r\n\r\n{body}");
    let (mut buffer, mut filled) = ([0u8; 8192], 0);
    loop {
        let n = stream.read(&mut buffer[filled..])?;
        if n == 0 {
            return Ok(());
        }
        filled += n;
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            stream.write_all(answer.as_bytes())?;
            filled = 0;
        }
    }
}

/// What a load showed.
pub struct Shown {
    /// Answers.
    pub requests: u64,
    /// Wall time of each, sorted.
    pub times: Vec<Duration>,
}

/// Calls these paths in turn over a few connections for some seconds. Every answer must be a 200.
pub fn run(to: SocketAddr, key: &str, paths: &[String], seconds: u32) -> Result<Shown> {
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let results: Vec<Result<Vec<Duration>>> = thread::scope(|scope| {
        let callers: Vec<_> = (0..8).map(|n| scope.spawn(move || caller(to, key, paths, n, end))).collect();
        callers.into_iter().map(|c| c.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a caller panicked")))).collect()
    });
    let mut times = Vec::new();
    for result in results {
        times.extend(result?);
    }
    times.sort_unstable();
    Ok(Shown { requests: times.len() as u64, times })
}

fn caller(to: SocketAddr, key: &str, paths: &[String], first: usize, end: Instant) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut times = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    for path in paths.iter().cycle().skip(first * 7919 % paths.len()) {
        if Instant::now() >= end {
            break;
        }
        let began = Instant::now();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\r\n")?;
        let (mut filled, mut whole) = (0, None);
        while whole.is_none_or(|w| filled < w) {
            let n = stream.read(&mut buffer[filled..])?;
            ensure!(n > 0, "the gateway closed the connection after {} answers", times.len());
            filled += n;
            if whole.is_none() {
                whole = length(&buffer[..filled])?;
            }
        }
        times.push(began.elapsed());
    }
    Ok(times)
}

fn length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    ensure!(head.starts_with("http/1.1 200"), "the gateway answered {}", head.lines().next().unwrap_or_default());
    let body = head.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    Ok(Some(end + 4 + body.context("the answer has no length")?))
}

/// User and system time of a process so far.
pub fn cpu(process: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("the server ended")?;
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, f)| f).split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).context("/proc has another form");
    // 100 ticks a second on every Linux we run on.
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

/// Resident memory of a process, in MiB.
pub fn memory(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("the server ended")?;
    let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.context("/proc has another form")? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_counts_answers_of_the_upstream() {
        let shown = run(upstream().unwrap(), "key", &["/a".to_owned(), "/b".to_owned()], 1).unwrap();
        assert!(shown.requests > 100);
        assert_eq!(shown.times.len() as u64, shown.requests);
    }

    #[test]
    fn an_answer_that_is_no_200_ends_the_load() {
        assert!(length(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").is_err());
        assert_eq!(length(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap(), Some(43));
    }

    #[test]
    fn reads_figures_of_a_process() {
        assert!(memory(std::process::id()).unwrap() > 0.1);
        cpu(std::process::id()).unwrap();
    }
}
