// Fills the page: a banner, and a card for each tea.
const TEAS = ["Assam", "Darjeeling", "Sencha", "Gyokuro", "Matcha", "Oolong",
  "Puerh", "Keemun", "Lapsang", "Rooibos", "Chamomile", "Mint"];

// Sorts long lists, "so that the browser is warm".
function warmUp(rounds) {
  for (let round = 0; round < rounds; round++) {
    Array.from({length: 20000}, (_, i) => (i * 7919) % 10007).sort((a, b) => a - b);
  }
}

function fill(settings) {
  warmUp(settings.warm_up_rounds);
  const cards = document.querySelector("#cards");
  for (const tea of TEAS) {
    const card = document.createElement("li");
    card.textContent = tea;
    cards.appendChild(card);
  }
  setTimeout(() => {
    document.querySelector("#banner").innerHTML = "<p>Free delivery in May</p>";
  }, settings.banner_after_ms);
}

window.addEventListener("load", () => fetch("settings.json").then((answer) => answer.json()).then(fill));
