//! `occystrap proxy` in a process of its own, and a plain HTTP client that sends it whatever a test wants.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use occystrap_base::oci::Digest;
use rustix::process::{Pid, Signal, kill_process};

use super::cli::{Ran, Sandbox};

/// A running proxy.
pub struct ProxyProcess {
    child: Option<Child>,
    stdout: BufReader<ChildStdout>,
    host: String,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body had the promised length.
    pub is_whole: bool,
}

impl ProxyProcess {
    /// Starts a proxy in front of the registry at `downstream`, on a free port of 127.0.0.1.
    #[track_caller]
    pub fn start(sandbox: &Sandbox, downstream: &str, more: &[&str]) -> Self {
        let fixed = ["--insecure", "proxy", "--listen", "127.0.0.1:0", "--downstream", downstream];
        let mut command = sandbox.command(&[&fixed[..], more].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let Some((_, rest)) = line.rsplit_once("://") else {
            let output = child.wait_with_output().unwrap();
            panic!("the proxy did not start: {}", String::from_utf8_lossy(&output.stderr));
        };
        let host = rest.trim_end_matches(['"', '}', '\n']).to_owned();
        Self { child: Some(child), stdout, host }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().unwrap())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Ran {
        let mut stdout = Vec::new();
        self.stdout.read_to_end(&mut stdout).unwrap();
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        Ran::ended(std::process::Output { stdout, ..output })
    }

    /// Stops the proxy as a service manager does, and waits for its end.
    pub fn stop(self) -> Ran {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Sends a request with a body and its length, and returns the answer.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()));
        self.raw(&[head.as_bytes(), body].concat(), method == "HEAD")
    }

    /// `GET`, without headers.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    /// Sends bytes on a connection of their own, and reads an answer until the end of the connection.
    #[track_caller]
    pub fn raw(&self, bytes: &[u8], is_head: bool) -> Answer {
        let mut stream = self.connect();
        // A proxy that refuses a request may close the connection before it has read all of it.
        let _ = stream.write_all(bytes);
        Answer::read(&mut stream, is_head)
    }

    /// Opens a connection.
    #[track_caller]
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.host).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends a blob in one request, and returns its digest.
    #[track_caller]
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let answer = self.request("POST", &path, &[], bytes);
        assert_eq!(answer.status, 201, "{}", answer.text());
        digest
    }

    /// Begins an upload, and returns its path.
    #[track_caller]
    pub fn begin_upload(&self, repository: &str) -> String {
        let answer = self.request("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"");
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.header("location").to_owned()
    }

    /// Begins to send `length` bytes to an upload. The upload is in work when this returns.
    #[track_caller]
    pub fn begin_patch(&self, path: &str, length: usize, first: &[u8]) -> TcpStream {
        let head = format!(
            "PATCH {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        for _ in 0..100 {
            let mut stream = self.connect();
            stream.write_all(&[head.as_bytes(), first].concat()).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            // It is refused where the question for the status had the upload at that moment.
            while stream.peek(&mut [0]).is_err() {
                if self.get(path).status == 416 {
                    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                    return stream;
                }
            }
        }
        panic!("the upload does not begin");
    }

    /// Sends a manifest.
    #[track_caller]
    pub fn put_manifest(
        &self,
        repository: &str,
        target: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Answer {
        let kind = format!("Content-Type: {media_type}");
        self.request("PUT", &format!("/v2/{repository}/manifests/{target}"), &[&kind], bytes)
    }

    /// Bytes of memory of the process, at most so far (proc_pid_status(5), `VmHWM`).
    pub fn peak_memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_so() {
            assert!(Instant::now() < deadline, "not in time: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for ProxyProcess {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Answer {
    /// Reads an answer until the end of the connection.
    #[track_caller]
    pub fn read(stream: &mut TcpStream, is_head: bool) -> Self {
        let mut bytes = Vec::new();
        // A connection that is reset has ended as well.
        let _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else {
            return Self { status: 0, headers: Vec::new(), body: bytes, is_whole: false };
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let body = bytes[end + 4..].to_vec();
        let promised = headers
            .iter()
            .find(|(name, _)| name == "content-length")
            .map_or(0, |(_, value)| value.parse::<usize>().unwrap());
        let is_whole = is_head || body.len() == promised;
        Self { status, headers, body, is_whole }
    }

    /// A header, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code of the error in the body.
    #[track_caller]
    pub fn code(&self) -> String {
        let document: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        document["errors"][0]["code"].as_str().unwrap().to_owned()
    }

    /// Checks that this is an error as the distribution specification has it ("Error Codes").
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.text());
        assert_eq!(self.header("content-type"), "application/json");
        let message = self.json()["errors"][0]["message"].as_str().map(str::len);
        assert!(message.is_some_and(|length| length > 0), "{}", self.text());
        self
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
