//! A terminal with a person at it: a pseudo-terminal, and the screen that it shows.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<vt100::Parser>>,
}

fn nonzero(number: u16) -> std::num::NonZero<u16> {
    std::num::NonZero::new(number).unwrap()
}

impl Terminal {
    /// Starts a command on a terminal of its own.
    pub fn start(mut command: Command) -> Terminal {
        let size = nix::pty::Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = nix::pty::openpty(Some(&size), None).unwrap();
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        command.stdin(end(&pty.slave)).stdout(end(&pty.slave)).stderr(end(&pty.slave));
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        let child = command.spawn().unwrap();
        drop(command);
        drop(pty.slave);
        let keyboard = File::from(pty.master);
        let mut output = keyboard.try_clone().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(nonzero(40), nonzero(120), 0)));
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut buffer = [0; 4_096];
            // The end of the last writer is an error here, not an end of file.
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                shown.lock().unwrap().process(&buffer[..read]);
            }
        });
        Terminal { child, keyboard, screen }
    }

    /// What a person sees now.
    pub fn screen(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Types, as a person would: after the screen has come to rest.
    pub fn types(&mut self, keys: &str) {
        std::thread::sleep(Duration::from_millis(200));
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Ctrl-C while a command works: the terminal of a test has no foreground group, so it is sent.
    pub fn interrupted(&mut self) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).unwrap();
    }

    #[track_caller]
    pub fn shows(&self, text: &str) {
        for _ in 0..1_000 {
            if self.screen().contains(text) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the screen lacks {text:?}:\n{}", self.screen());
    }

    /// Whether any cell of the screen has a colour.
    pub fn is_coloured(&self) -> bool {
        let parser = self.screen.lock().unwrap();
        let screen = parser.screen();
        let coloured = |row, column| {
            screen.cell(row, column).is_some_and(|cell| cell.fgcolor() != vt100::Color::Default)
        };
        (0..40).any(|row| (0..120).any(|column| coloured(row, column)))
    }

    pub fn ends(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        std::thread::sleep(Duration::from_millis(50));
        (code, self.screen())
    }
}

impl Drop for Terminal {
    /// A test that failed leaves nobody running.
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}
