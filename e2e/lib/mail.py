"""A mail server that keeps what it is sent. It knows no TLS and no sign-in: for senders on this machine."""

import email
import email.policy
import socketserver
import threading


class Mailbox:
    """Listens on a free port from the moment it is made; `messages` are what arrived, as Python reads them."""

    def __init__(self):
        self.messages, box = [], self

        class Session(socketserver.StreamRequestHandler):
            def handle(self):
                self.say("220 mailbox")
                while line := self.rfile.readline().decode("latin-1").strip():
                    word = line.split(" ")[0].split(":")[0].upper()
                    if word == "DATA":
                        self.say("354 go on")
                        box.take(self.rfile)
                        self.say("250 taken")
                    elif word == "QUIT":
                        return self.say("221 bye")
                    else:
                        self.say("250 mailbox" if word in ("EHLO", "HELO", "MAIL", "RCPT", "NOOP", "RSET") else "502 no")

            def say(self, line):
                self.wfile.write(line.encode() + b"\r\n")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = allow_reuse_address = True

        self.server = Server(("127.0.0.1", 0), Session)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, stream):
        """One message, up to the line that is a dot (RFC 5321, section 4.5.2)."""
        lines = []
        while (line := stream.readline()) and line != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        self.messages.append(email.message_from_bytes(b"".join(lines), policy=email.policy.default))

    def about(self, subject):
        """The messages with this subject."""
        return [m for m in list(self.messages) if m["subject"] == subject]
