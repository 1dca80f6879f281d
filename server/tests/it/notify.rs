//! What the program tells systemd.

use std::ffi::OsStr;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use crate::program::Program;

#[tokio::test]
async fn systemd_hears_of_readiness_of_life_and_of_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let hear = || {
        let mut line = [0; 64];
        let length = supervisor.recv(&mut line).unwrap();
        String::from_utf8(line[..length].to_vec()).unwrap()
    };
    let variables = [
        ("NOTIFY_SOCKET", path.as_os_str()),
        ("WATCHDOG_USEC", OsStr::new("100000")),
    ];
    let program = Program::start_with(Stdio::null(), &variables).await;
    assert_eq!(hear(), "READY=1");
    for _ in 0..3 {
        assert_eq!(hear(), "WATCHDOG=1");
    }
    assert!(program.stop().await.success());
    let last = loop {
        let line = hear();
        if line != "WATCHDOG=1" {
            break line;
        }
    };
    assert_eq!(last, "STOPPING=1");
}
