"""Subjects the model can explain, and what it can say when asked further about them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Subject:
    """A subject with its opening questions and answer, and one answer to each kind of further question."""

    name: str
    #: "it" or "they".
    pronoun: str
    questions: list[str]
    answer: str
    #: Answers by aspect; the aspects and their wordings are in `following.ASPECTS`.
    further: dict[str, str] = field(default_factory=dict)


#: The sky comes first: it is asked about more often than anything else, as everywhere.
SUBJECTS: list[Subject] = [
    Subject("the blue sky", "it", ["Why is the sky blue?", "Why does the sky look blue?", "Explain why the sky is blue.", "What makes the sky blue?", "Can you explain why the sky is blue?",
            "Tell me why the sky is blue.", "What is the reason the sky is blue?", "How come the sky is blue?", "Why is the sky blue during the day?"],
        "The sky is blue because air molecules in the atmosphere scatter sunlight. Short blue wavelengths scatter more than red ones, which is called Rayleigh scattering.",
        {
            "physics": "The physics of the blue sky is Rayleigh scattering: air molecules scatter short wavelengths of light far more than long ones.",
            "chemistry": "The chemistry of the blue sky is simple: nitrogen and oxygen molecules scatter the light and do not react.",
            "myths": "A myth about the blue sky is that it mirrors the ocean; in truth the atmosphere scatters blue light.",
            "planets": "The sky looks different on other planets: on Mars it is butterscotch by day, because dust scatters the light.",
            "clouds": "Yes, the sky is bluest without clouds, when nothing but air scatters the sunlight.",
            "rain": "Yes, the sky is blue without rain; after rain it looks clearer, since the air has less dust.",
            "when": "The sky is blue during the day; at sunset the light travels further through the atmosphere and looks red.",
            "more": "At sunset the sky is red, since sunlight then crosses more of the atmosphere and the blue light is scattered away.",
        }),
    Subject("rainbows", "they", ["How do rainbows form?", "What makes a rainbow?", "How does a rainbow form?", "Why do we see rainbows?", "What causes a rainbow?", "What is a rainbow?"],
        "Rainbows form when sunlight is refracted and reflected inside water droplets, which spreads the light into a spectrum of colors.",
        {
            "physics": "The physics of rainbows is refraction and reflection: water droplets bend the sunlight, and each color leaves at its own angle.",
            "chemistry": "The chemistry of rainbows is simple: they need water droplets and sunlight, and no reaction takes place.",
            "myths": "A myth about rainbows is that a pot of gold lies at their end; others call them a bridge to the gods.",
            "planets": "Rainbows may form on other planets where sunlight meets droplets; Venus shows a similar glow in its clouds.",
            "clouds": "Yes, rainbows can form without clouds, when the sun shines on mist or spray.",
            "rain": "Yes, rainbows can form without rain, in fog or in the mist of a waterfall.",
            "when": "Rainbows are seen when the sun is low and shines on rain in front of you.",
            "where": "Rainbows appear in the part of the sky that lies opposite the sun.",
            "more": "A rainbow is really a full circle; from the ground we see only the upper part of its colors.",
        }),
    Subject("the blue ocean", "it", ["Why is the ocean blue?", "Why is the sea blue?", "What makes the ocean blue?", "Why does water in the ocean look blue?"],
        "The ocean is blue because water absorbs the red wavelengths of sunlight and scatters the blue ones.",
        {
            "physics": "The physics of the blue ocean is absorption: water takes up red light and lets blue light pass and scatter.",
            "chemistry": "The chemistry of the blue ocean lies in water molecules, whose bonds absorb a little red light; the salt does not matter.",
            "myths": "A myth about the blue ocean is that it only mirrors the sky; in truth the water itself absorbs red light.",
            "planets": "No other planet has a blue ocean that we know of; the moon Europa has water under its ice.",
            "clouds": "Yes, the ocean is blue without clouds; below a grey sky the water looks grey too.",
            "where": "The ocean is bluest far from the coast, where the water is deep and clear.",
            "more": "Near the coast the ocean looks green, since plants in the water absorb blue light as well.",
        }),
    Subject("brown dirt", "it", ["Why is the color of dirt brown?", "Why is dirt brown?", "Why is soil brown?", "What makes dirt brown?"],
        "Dirt is brown because soil contains organic matter and minerals such as iron oxide.",
        {
            "physics": "The physics of brown dirt is absorption: soil absorbs blue light and reflects some red and yellow light.",
            "chemistry": "The chemistry of brown dirt is iron oxide, which is rust, and carbon from decomposed plants in the soil.",
            "myths": "A myth about brown dirt is that it is dead; in truth soil is full of life.",
            "planets": "The dirt of other planets differs: the soil of Mars is red because of its iron oxide.",
            "where": "Brown soil is found in forests and fields, where plants decompose into organic matter.",
            "more": "Soil that is rich in organic matter is almost black, and soil that is rich in iron oxide is red.",
        }),
    Subject("air", "it", ["What is the composition of air?", "What is air made of?", "Which gases are in the air?", "What does air consist of?"],
        "Air is about 78% nitrogen and 21% oxygen, with argon, carbon dioxide and water vapor.",
        {
            "physics": "The physics of air is that of a gas: its particles fly about and their blows make the pressure.",
            "chemistry": "The chemistry of air is that oxygen reacts with many things, as in fire, while nitrogen hardly reacts.",
            "myths": "A myth about air is that it is mostly oxygen; in truth most of the gas is nitrogen.",
            "planets": "The air of other planets differs: Mars and Venus have mostly carbon dioxide.",
            "danger": "Air is safe to breathe, but too much carbon dioxide or smoke in it is dangerous.",
            "more": "Air gets thinner with height, so climbers find less oxygen on high mountains.",
        }),
    Subject("Independence Day", "it", ["What is the origin of independence day?", "Where does Independence Day come from?", "What is Independence Day?", "Why do Americans celebrate the Fourth of July?"],
        "Independence Day, the Fourth of July, marks the Declaration of Independence of 1776.",
        {
            "myths": "A myth about Independence Day is that everybody signed the Declaration on July 4; most signed it in August.",
            "when": "Independence Day is on the Fourth of July.",
            "where": "Independence Day is celebrated all over the United States; the Declaration was signed in Philadelphia.",
            "danger": "The fireworks of Independence Day can be dangerous, so leave them to people who know how.",
            "more": "On Independence Day people in America watch fireworks and parades on the Fourth of July.",
        }),
    Subject("Thanksgiving", "it", ["What was the origin of thanksgiving?", "What is the origin of the US Thanksgiving holiday?", "Where does Thanksgiving come from?", "What is the origin of Thanksgiving?"],
        "Thanksgiving goes back to a harvest feast of the Pilgrims and the Wampanoag at Plymouth in 1621.",
        {
            "myths": "A myth about Thanksgiving is that the feast of 1621 was a yearly custom; it became a fixed holiday in 1863.",
            "when": "Thanksgiving is on the fourth Thursday of November.",
            "where": "Thanksgiving is celebrated in the United States; Canada has a harvest feast of its own in October.",
            "more": "At Thanksgiving families in America eat turkey and pumpkin pie and give thanks for the harvest.",
        }),
    Subject("lightning", "it", ["What is lightning?", "How does lightning form?", "What causes lightning?", "Why is there lightning in a storm?"],
        "Lightning is a giant spark: ice and rain in a storm cloud rub together, charges separate, and a current flows through the air.",
        {
            "physics": "The physics of lightning is electricity: charges in the cloud grow until the air can no longer hold them apart.",
            "chemistry": "The chemistry of lightning is that its heat makes nitrogen and oxygen in the air react with each other.",
            "myths": "A myth about lightning is that it never strikes twice in the same place; others said it was the weapon of Zeus or Thor.",
            "planets": "Lightning happens on other planets too; it has been seen in the clouds of Jupiter and Saturn.",
            "clouds": "No, lightning nearly always needs clouds, or the ash of a volcano, to separate the charges.",
            "rain": "Yes, lightning can strike without rain; this is called dry lightning.",
            "danger": "Yes, lightning is dangerous: go indoors and keep away from trees.",
            "when": "Lightning is most common on summer afternoons, when storms build up.",
            "where": "Lightning is most common over warm land, as in the middle of Africa.",
            "more": "Lightning heats the air so fast that it bursts apart, and that is the thunder we hear.",
        }),
    Subject("clouds", "they", ["How do clouds form?", "What are clouds made of?", "What is a cloud?", "Why are there clouds?"],
        "Clouds form when moist air rises and cools, and its water vapor condenses into tiny droplets or ice.",
        {
            "physics": "The physics of clouds is cooling: rising air expands, gets colder and can hold less water vapor.",
            "chemistry": "The chemistry of clouds is that salt and dust in the air give water vapor a place to condense.",
            "myths": "A myth about clouds is that they weigh nothing; in old tales the gods live upon them.",
            "planets": "Clouds exist on other planets too: those of Venus are acid and those of Mars are ice.",
            "rain": "Yes, most clouds bring no rain, because their droplets are too small to fall.",
            "danger": "Clouds are not dangerous, but a dark storm cloud warns of lightning and hail.",
            "where": "Clouds form from the ground, where we call them fog, to many kilometers up.",
            "more": "White clouds scatter all the colors of sunlight alike; thick ones look grey from below.",
        }),
    Subject("snowflakes", "they", ["How do snowflakes form?", "What is a snowflake?", "Why do snowflakes have six arms?", "What makes snowflakes?"],
        "Snowflakes form when water vapor freezes onto a speck of dust in a cold cloud and grows into a crystal with six arms.",
        {
            "physics": "The physics of snowflakes is crystal growth: vapor turns into ice and the arms grow fastest at their tips.",
            "chemistry": "The chemistry of snowflakes is that water molecules bond in rings of six when they freeze.",
            "myths": "A myth about snowflakes is that frost giants shake them from the sky; that no two are alike is nearly true.",
            "planets": "Snowflakes fall on other planets too: on Mars there is snow of water and of carbon dioxide.",
            "clouds": "Snowflakes nearly always need clouds, but in great cold tiny ice crystals fall from a clear sky.",
            "danger": "Snowflakes are harmless, but much snow on a slope can become an avalanche.",
            "when": "Snowflakes fall in winter, when the air stays below freezing.",
            "more": "Snowflakes look white because their many faces scatter all the colors of light.",
        }),
    Subject("volcanoes", "they", ["How do volcanoes form?", "What is a volcano?", "Why do volcanoes erupt?", "What causes volcanoes?"],
        "Volcanoes form where melted rock, called magma, rises through the crust of the earth and breaks out as lava.",
        {
            "physics": "The physics of volcanoes is pressure: hot magma is lighter than the rock around it, so it rises.",
            "chemistry": "The chemistry of volcanoes is about silica and gas: the more of both, the more violent the lava.",
            "myths": "A myth about volcanoes is that a god of fire, Vulcan or Pele, lives in them.",
            "planets": "Volcanoes exist on other planets too: the highest one is Olympus Mons on Mars.",
            "danger": "Yes, volcanoes are dangerous: lava, hot ash and gas can destroy a town.",
            "where": "Most volcanoes lie around the Pacific, where plates of the crust meet.",
            "more": "Volcanoes also make new land: Iceland and Hawaii were built by their lava.",
        }),
    Subject("the northern lights", "they", ["What are the northern lights?", "How do the northern lights form?", "What causes the northern lights?", "What is the aurora?"],
        "The northern lights form when particles from the sun hit oxygen and nitrogen high in the air and make them glow.",
        {
            "physics": "The physics of the northern lights is magnetism: the field of the earth guides particles from the sun to the poles.",
            "chemistry": "The chemistry of the northern lights gives their color: oxygen glows green and red, nitrogen glows blue.",
            "myths": "A myth about the northern lights is that a fox sweeps snow into the sky with its tail.",
            "planets": "Northern lights happen on other planets too: Jupiter and Saturn have them at their poles.",
            "clouds": "The northern lights shine far above the clouds, so they are best seen without clouds.",
            "danger": "No, the northern lights are not dangerous; they glow a hundred kilometers up.",
            "when": "The northern lights are seen on dark winter nights, above all when the sun is active.",
            "where": "The northern lights are seen near the poles, as in Norway, Iceland and Canada.",
            "more": "In the south the same glow is called the southern lights.",
        }),
    Subject("tides", "they", ["What causes tides?", "Why are there tides?", "How do tides work?", "Why does the sea rise and fall?"],
        "Tides are caused by the gravity of the moon and the sun, which pulls the water of the ocean into bulges.",
        {
            "physics": "The physics of tides is gravity: the moon pulls harder on the near side of the earth than on the far side.",
            "chemistry": "There is no chemistry in tides: water is moved by gravity and does not change.",
            "myths": "A myth about tides is that a sea giant breathes in and out.",
            "planets": "Tides happen on other planets and moons too: Jupiter kneads its moon Io until it is hot.",
            "danger": "Tides can be dangerous for walkers on the shore, since the water comes back fast.",
            "when": "Tides are high about twice a day, and highest at new moon and full moon.",
            "where": "The highest tides are in the Bay of Fundy in Canada.",
            "more": "Tides slowly brake the earth, so days get a tiny bit longer.",
        }),
    Subject("shooting stars", "they", ["What are shooting stars?", "What is a shooting star?", "What causes shooting stars?", "How do meteors form?"],
        "Shooting stars are grains of dust from space that hit the air so fast that they glow.",
        {
            "physics": "The physics of shooting stars is heat: the air in front of the grain is pressed together and glows.",
            "chemistry": "The chemistry of shooting stars gives their color: sodium glows yellow and magnesium glows blue-green.",
            "myths": "A myth about shooting stars is that a wish made on one comes true; in truth they are no stars at all.",
            "planets": "Shooting stars happen on other planets with air too, as on Mars.",
            "clouds": "Shooting stars glow above the clouds, so we see them best without clouds.",
            "danger": "No, shooting stars are not dangerous; nearly all of them burn up high in the air.",
            "when": "Shooting stars are most common in August and December, when the earth crosses trails of dust.",
            "more": "A shooting star that reaches the ground is called a meteorite.",
        }),
]  # fmt: skip
