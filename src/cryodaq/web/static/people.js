// Offers accounts of the directory while somebody writes into a field marked `data-people`.
"use strict";

// Runs `act` once its caller has been quiet for a moment.
function quietly(act, pauseMs) {
  let timer = null;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), pauseMs);
  };
}

const searchPeople = quietly(async (text) => {
  if (text.trim().length < 2) return;
  const answer = await fetch(`/people?${new URLSearchParams({ q: text.trim() })}`);
  if (!answer.ok) return;
  document.getElementById("people-found").replaceChildren(
    ...(await answer.json()).map((person) => {
      const option = document.createElement("option");
      option.value = person.uid;
      option.label = person.full_name;
      return option;
    }),
  );
}, 200);

document.addEventListener("input", (event) => {
  if ("people" in event.target.dataset) searchPeople(event.target.value);
});
