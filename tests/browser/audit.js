// What keeps somebody from reading or using the page that is open: a list, empty for a good page.
() => {
  const found = [];
  const say = (what, element) => found.push(`${what}: ${element.outerHTML.slice(0, 140)}`);
  const shown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const named = (element) =>
    (element.getAttribute("aria-label") || element.textContent || "").trim() ||
    element.getAttribute("aria-labelledby") || [...element.querySelectorAll("img[alt]")].some((image) => image.alt);
  for (const element of document.querySelectorAll("input:not([type=hidden]), select, textarea"))
    if (!(element.labels && element.labels.length) && !element.getAttribute("aria-label")) say("no label", element);
  for (const element of document.querySelectorAll("button, a[href], summary"))
    if (shown(element) && !named(element)) say("no name", element);
  for (const image of document.querySelectorAll("img:not([alt])")) say("no alternative", image);
  for (const drawing of document.querySelectorAll("svg:not([aria-label]):not([aria-hidden])")) say("no name", drawing);
  for (const table of document.querySelectorAll("table")) if (!table.querySelector("th")) say("no heading", table);
  for (const element of document.querySelectorAll("[aria-labelledby], [aria-describedby]"))
    for (const id of `${element.getAttribute("aria-labelledby") || ""} ${element.getAttribute("aria-describedby") || ""}`
      .split(" ").filter(Boolean)) if (!document.getElementById(id)) say(`nothing is called ${id}`, element);
  if (document.querySelectorAll("h1").length !== 1) found.push(`${document.querySelectorAll("h1").length} first headings`);
  if (!document.documentElement.lang) found.push("no language");
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids)) if (ids.filter((one) => one === id).length > 1) found.push(`twice: id ${id}`);
  if (document.documentElement.scrollWidth > innerWidth) found.push(`${document.documentElement.scrollWidth} px wide`);

  const channels = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) =>
    [r, g, b].map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
      .reduce((sum, c, index) => sum + c * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = channels(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.nodeValue.trim() || !shown(element) || element.closest("svg, script, option, .sr, .skip")) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(channels(style.color)), light(behind(element))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if ((a + 0.05) / (b + 0.05) < (large ? 3 : 4.5)) say(`contrast ${((a + 0.05) / (b + 0.05)).toFixed(1)}`, element);
  }
  return found;
}
