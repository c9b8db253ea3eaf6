# SPDX-License-Identifier: Apache-2.0
"""What notifications are delivered to: an HTTP receiver and an SMTP server on free ports of the
loopback, which fail as often as a test says and remember what they got."""
import base64
import http.server
import socketserver
import threading


class Serving:
    """Serves in a thread of its own, from `with` to its end."""

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def port(self):
        return self.server_address[1]


class Webhook(Serving, http.server.ThreadingHTTPServer):
    """Answers with each of `answers` in turn, then with 200; "cut" breaks the connection off, an event is
    waited for. `got`: headers and body of every request."""
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answers=(), port=0):
        self.answers, self.got = list(answers), []
        super().__init__(("127.0.0.1", port), WebhookHandler)


class WebhookHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.path, dict((key.lower(), value) for key, value in self.headers.items()), body))
        answer = self.server.answers.pop(0) if self.server.answers else 200
        if isinstance(answer, threading.Event):
            answer.wait(60)
            answer = "cut"
        if answer == "cut":
            self.close_connection = True
            return
        self.send_response(answer)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Mailbox(Serving, socketserver.ThreadingTCPServer):
    """`refuse`: by recipient, the replies that its next RCPT get. `login`: what AUTH PLAIN must bring.
    `got`: sender, recipient, text of every mail that was taken."""
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, login=None, refuse=None):
        self.login, self.refuse, self.got = login, dict(refuse or {}), []
        super().__init__(("127.0.0.1", 0), MailboxHandler)


class MailboxHandler(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def lines(self):
        while line := self.rfile.readline():
            yield line.decode().rstrip("\r\n")

    def handle(self):
        sender, recipient, known = None, None, not self.server.login
        self.say("220 ready")
        for line in self.lines():
            verb, address = line[:4].upper(), line[line.find("<") + 1:line.find(">")]
            if verb == "EHLO":
                self.say("250-here\r\n250 AUTH PLAIN" if self.server.login else "250 here")
            elif verb == "AUTH":
                self.say("334 ")
                answer = base64.b64decode(self.rfile.readline()).decode()
                known = answer == "\0" + self.server.login.replace(":", "\0", 1)
                self.say("235 good" if known else "535 wrong login")
            elif verb == "MAIL":
                sender = address
                self.say("250 good" if known else "530 log in first")
            elif verb == "RCPT":
                recipient, replies = address, self.server.refuse.get(address)
                self.say(replies.pop(0) if replies else "250 good")
            elif verb == "DATA":
                self.say("354 go on")
                text = "\n".join(iter(lambda: self.rfile.readline().decode().rstrip("\r\n"), "."))
                self.server.got.append((sender, recipient, text))
                self.say("250 taken")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("502 unknown")
