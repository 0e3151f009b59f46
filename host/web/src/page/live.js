// One live channel. What a person has opened or selected stays as it is: an update waits until they let go.
const SILENCE_MS = 5000; // The host speaks once a second.
const LOST =
  '<p id="liveness" class="bad">No word from the host: it has stopped, was killed, or hangs. ' +
  "Below is its last word.</p>";
const host = document.getElementById("host");
const live = document.getElementById("live");
const source = new EventSource("/events");
let waiting = null;
let silence;
let said = null;

const lost = () => {
  host.innerHTML = said = LOST;
};

const heard = () => {
  clearTimeout(silence);
  silence = setTimeout(lost, SILENCE_MS);
};

source.onerror = lost;
source.addEventListener("rest", (event) => {
  waiting = event.data;
});
source.addEventListener("liveness", (event) => {
  heard();
  if (event.data !== said) host.innerHTML = said = event.data;
});
setInterval(() => {
  const selecting = !document.getSelection().isCollapsed;
  const open = live.querySelector("details[open]");
  if (waiting !== null && !selecting && !open) {
    live.innerHTML = waiting;
    waiting = null;
  }
}, 500);
heard();
