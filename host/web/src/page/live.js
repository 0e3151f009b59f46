// One live channel. What a person has opened or selected stays as it is: an update waits until they let go.
const live = document.getElementById("live");
new EventSource("/events").onmessage = (event) => {
  const selecting = !document.getSelection().isCollapsed;
  const open = live.querySelector("details[open]");
  if (!selecting && !open) live.innerHTML = event.data;
};
