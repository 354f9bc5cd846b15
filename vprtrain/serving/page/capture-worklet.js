// Hands on what the microphone gives, in chunks of some 40 ms.

const LENGTH = 2048;

class Capture extends AudioWorkletProcessor {
  chunk = new Float32Array(LENGTH);
  filled = 0;

  process([[channel]]) {
    if (!channel) return true;
    this.chunk.set(channel, this.filled);
    this.filled += channel.length;
    if (this.filled === LENGTH) {
      this.port.postMessage(this.chunk);
      this.filled = 0;
    }
    return true;
  }
}

registerProcessor("capture", Capture);
