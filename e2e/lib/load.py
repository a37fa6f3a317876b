"""Steady requests from several threads, each over one kept connection, counting how every one ended."""

import collections
import http.client
import threading
import time


class Load:
    """Begins at once; `stop` ends it and returns the counts by status, or by the name of an exception."""

    def __init__(self, address, path, headers, threads=4, pause=0.0):
        self.address, self.path, self.headers, self.pause = address, path, headers, pause
        self.counts = collections.Counter()
        self.lock = threading.Lock()
        self.running = True
        self.threads = [threading.Thread(target=self._send, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def _send(self):
        connection = None
        while self.running:
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(*self.address, timeout=15)
                connection.request("GET", self.path, headers=self.headers)
                answer = connection.getresponse()
                answer.read()
                word = answer.status
                if answer.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                word = type(error).__name__
                connection = None
            with self.lock:
                self.counts[word] += 1
            if self.pause:
                time.sleep(self.pause)

    def total(self):
        with self.lock:
            return sum(self.counts.values())

    def stop(self):
        self.running = False
        for thread in self.threads:
            thread.join(20)
        return dict(self.counts)
