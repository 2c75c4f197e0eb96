// Helps with the form of a new session: the experiment's name, accounts, an earlier sample's values, live checks.
// `quietly` is people.js's.
"use strict";

const guide = document.getElementById("guide");
const byId = (id) => document.getElementById(id);

function nameExperiment() {
  const chosen = byId("experiment");
  const fields = byId("new-experiment");
  if (!fields) return;
  fields.hidden = chosen.value !== "new";
  const day = byId("begins").value.replaceAll("-", "") || "date";
  byId("experiment-name").textContent = `${day}-${byId("proposal").value.trim() || "proposal"}`;
}

function addPerson() {
  const field = byId("person-search");
  const uid = field.value.trim();
  const known = [...guide.querySelectorAll("input[name=person]")].some((input) => input.value === uid);
  if (uid && !known) {
    const item = document.createElement("li");
    const input = document.createElement("input");
    Object.assign(input, { type: "hidden", name: "person", value: uid });
    const remove = document.createElement("button");
    Object.assign(remove, { type: "button", className: "quiet", textContent: "×" });
    remove.setAttribute("aria-label", `Remove ${uid}`);
    item.append(input, `${uid} `, remove);
    byId("people").append(item);
  }
  field.value = "";
  field.focus();
}

async function copySample(id) {
  if (!id) return;
  const answer = await fetch(`${location.pathname}?${new URLSearchParams({ copy: id })}`, { headers: { "X-Fragment": "1" } });
  if (!answer.ok) return;
  const other = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const field of other.querySelectorAll("[name^='p:']")) {
    const own = guide.elements.namedItem(field.name);
    if (own) own.value = field.value;
  }
  check();
}

const check = quietly(async () => {
  const body = new URLSearchParams([...new FormData(guide)].filter(([, value]) => typeof value === "string"));
  const answer = await fetch(guide.dataset.checks, { method: "POST", body });
  if (!answer.ok) return;
  const made = new DOMParser().parseFromString(await answer.text(), "text/html");
  byId("checks").replaceChildren(...made.body.childNodes);
}, 350);

guide.addEventListener("input", (event) => {
  nameExperiment();
  if (event.target.name) check();
});
byId("copy").addEventListener("change", (event) => copySample(event.target.value));
byId("person-add").addEventListener("click", addPerson);
byId("person-search").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  addPerson();
});
byId("people").addEventListener("click", (event) => {
  if (event.target.tagName === "BUTTON") event.target.closest("li").remove();
});
nameExperiment();
check();
