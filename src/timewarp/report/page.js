// The page works without this: it adds a 3D view of the conformations, and a button that copies each table.
"use strict";

(() => {
  const textOf = (table) =>
    [...table.rows]
      .map((row) => [...row.cells].map((cell) => cell.innerText.trim().replace(/\s+/g, " ")).join("\t"))
      .join("\n");
  const copyByHand = (text) => {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      copyByHand(text); // no permission, or an old browser
    }
  };
  for (const table of document.querySelectorAll("main table")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "copy table";
    button.addEventListener("click", () =>
      copy(textOf(table)).then(() => {
        button.textContent = "copied";
        setTimeout(() => (button.textContent = "copy table"), 1500);
      })
    );
    table.closest(".scroll").after(button);
  }
})();

(() => {
  const figure = document.querySelector("figure.structures");
  const source = document.getElementById("structures-data");
  if (!figure || !source || !window.$3Dmol) return;
  const canvas = document.createElement("canvas");
  if (!canvas.getContext("webgl2") && !canvas.getContext("webgl")) return; // the still drawings remain

  const data = JSON.parse(source.textContent);
  const box = figure.querySelector(".viewer");
  box.hidden = false;
  const stage = box.querySelector(".stage");
  const viewer = $3Dmol.createViewer(stage, { antialias: true, backgroundAlpha: 0 });
  // A wheel turned over the view scrolls the page, as it does elsewhere.
  stage.addEventListener("wheel", (event) => event.ctrlKey || event.stopPropagation(), { capture: true });
  // A finger on the view scrolls the page, too, until the view is tapped.
  let held = false;
  stage.addEventListener("click", () => (held = true));
  document.addEventListener("click", (event) => stage.contains(event.target) || (held = false));
  for (const kind of ["touchstart", "touchmove", "touchend"]) {
    stage.addEventListener(kind, (event) => held || event.stopPropagation(), { capture: true, passive: true });
  }
  const turns = { ArrowLeft: [-15, "y"], ArrowRight: [15, "y"], ArrowUp: [-15, "x"], ArrowDown: [15, "x"] };
  stage.addEventListener("keydown", (event) => {
    if (!turns[event.key]) return;
    event.preventDefault();
    viewer.rotate(...turns[event.key]);
  });
  const neighbours = data.elements.map(() => []);
  for (const [i, j] of data.bonds) {
    neighbours[i].push(j);
    neighbours[j].push(i);
  }
  const atomsOf = (numbers) =>
    data.elements.map((elem, i) => ({
      elem,
      x: numbers[3 * i],
      y: numbers[3 * i + 1],
      z: numbers[3 * i + 2],
      serial: i,
      bonds: neighbours[i],
      bondOrder: neighbours[i].map(() => 1),
    }));

  let state = 0;
  const hydrogens = box.querySelector("[name=hydrogens]");
  const spread = box.querySelector("[name=spread]");
  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const draw = () => {
    const colours = { C: ink("--stick"), N: ink("--run"), O: ink("--series-5"), S: ink("--series-4"), H: ink("--stick-h") };
    const colorfunc = (atom) => colours[atom.elem] || colours.C;
    viewer.removeAllModels();
    const shown = data.states[state].frames.slice(0, spread.checked ? undefined : 1);
    shown.forEach((numbers, n) => {
      const model = viewer.addModel();
      model.addAtoms(atomsOf(numbers));
      const faint = n > 0;
      model.setStyle({}, {
        stick: { radius: faint ? 0.05 : 0.13, colorfunc },
        ...(faint ? {} : { sphere: { scale: 0.2, colorfunc } }),
      });
      if (!hydrogens.checked || faint) {
        const hidden = (elem, i) => elem === "H" && (faint || !data.polar[i]);
        model.setStyle({ serial: [...data.elements.keys()].filter((i) => hidden(data.elements[i], i)) }, {});
      }
    });
    viewer.render();
    figure.querySelectorAll(".panel").forEach((panel, n) => panel.setAttribute("aria-pressed", String(n === state)));
    box.querySelector("output").textContent = data.states[state].name;
  };
  figure.querySelectorAll(".panel").forEach((panel, n) => {
    panel.setAttribute("role", "button");
    panel.tabIndex = 0;
    const choose = () => {
      state = n;
      draw();
    };
    panel.addEventListener("click", choose);
    panel.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose();
    });
  });
  hydrogens.addEventListener("change", draw);
  spread.addEventListener("change", draw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
  viewer.zoomTo();
  viewer.zoom(1.15);
  viewer.render();
  figure.dataset.live = "yes";
})();
