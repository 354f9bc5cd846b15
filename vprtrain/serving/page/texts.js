// The words of the page in both languages, and the lines of the service in the other one.

const TEXTS = {
  en: {
    skip: "Skip to the content", language: "中文", languageName: "English", theme: "Light or dark",
    tabs: "What to do",
    compare: "Compare", recognise: "Recognise", live: "Live", conversation: "Conversation", enrol: "Enrol", users: "Users",
    compareTitle: "Is this the same voice?",
    compareLead: "Record or drop two recordings. The score says how alike the voices are.",
    firstVoice: "First voice", secondVoice: "Second voice", compareAction: "Compare the voices",
    recogniseTitle: "Whose voice is this?",
    recogniseLead: "One recording is compared with everyone who is enrolled.",
    oneVoice: "The voice", recogniseAction: "Recognise the voice",
    liveTitle: "Who speaks now?",
    liveLead: "The microphone is listened to until you stop. Nothing is stored; this page keeps the last minute, so that you can name a voice.",
    liveIdle: "Not listening", liveStart: "Start listening", liveStop: "Stop",
    listening: "Listening …", nobodySpeaks: "Nobody speaks",
    tellApart: "Tell unknown voices apart", voices: "Voices of the last minute",
    nameVoice: "Name this voice", nameVoiceOf: "Name this voice: {name}",
    conversationTitle: "Who speaks when?",
    conversationLead: "A recording of several people is split into the turns of each. Those who are enrolled have their names.",
    oneConversation: "The conversation", speakerCount: "How many people speak?", speakerCountFound: "found, if left empty",
    conversationAction: "Find the speakers", diarizing: "Listening … A minute of speech takes some seconds.",
    people: "{count} people speak in {duration}", onePerson: "One person speaks in {duration}", nobodyInIt: "Nobody speaks in it",
    timeline: "Speakers and their turns; the arrow keys go from turn to turn", speakerNumber: "Speaker {number}",
    spoke: "{seconds} s in {count} turns", spokeOnce: "{seconds} s in 1 turn", turn: "{name}, {start} to {end}",
    notDecoded: "this browser cannot play the file", enrolTurn: "Enrol this voice",
    givenLead: "Pieces of the conversation in which the same voice was found. Listen to each before you enrol them.",
    ownTakes: "Record three takes instead",
    enrolTitle: "Add a voice",
    enrolLead: "Three short takes of one person, in a quiet room. Speak as you usually do.",
    name: "Name", purpose: "Purpose", purposeExample: "for example: the door of building 7", take1: "Take 1", take2: "Take 2", take3: "Take 3",
    prompt1: "“The north wind and the sun were disputing which was the stronger.”",
    prompt2: "“A traveller came along wrapped in a warm cloak, and they agreed.”",
    prompt3: "“The one who first made the traveller take his cloak off should win.”",
    consent: "The speaker agrees that a voiceprint, which is biometric data, is computed from these recordings and kept on this service, under this name and for this purpose, until it is deleted. Name, purpose and time are stored with it; the recordings are not kept.",
    enrolAction: "Enrol this voice",
    missing: "Still needed: ", missingName: "a name", missingPurpose: "a purpose", missingTakes: "{count} good takes", missingTake: "one more good take",
    missingConsent: "the speaker’s consent",
    usersTitle: "Enrolled voices", usersLead: "Each person’s voiceprint is the mean of their recordings.",
    nobody: "Nobody is enrolled yet. Add a voice first.",
    recordings: "{count} recordings", recording: "1 recording",
    exportAction: "Export", exportLabel: "Export everything stored of {name}",
    deleteAction: "Delete", deleteLabel: "Delete {name}",
    deleteTitle: "Delete {name}?", deleteLead: "The voiceprint and everything else that is stored of this person is erased. This cannot be undone.",
    deleted: "{name} was deleted.", cancel: "Cancel",
    footer: "Your recordings are sent to this service only, and are not kept.",
    drop: "Record, or drop a file here", record: "Record", stop: "Stop", play: "Play", playing: "Stop", file: "File …",
    again: "Record again", level: "Level", chart: "Scores of the last minute, and the threshold", waveform: "Waveform of {seconds} s",
    seconds: "{seconds} s", speech: "{speech}\u00a0s of speech", decibels: "{level}\u00a0dBFS",
    checking: "Checking …", good: "Good", doubtful: "Usable, but: ", refused: "Not usable: ",
    otherVoice: "it does not sound like take {take} (score {score})",
    sameSpeaker: "Same speaker", otherSpeaker: "Different speakers", unknownThreshold: "No threshold is known",
    unknown: "Unknown voice", nearest: "Nobody who is enrolled sounds like this.",
    score: "Score", threshold: "Threshold", scoreLabel: "Score {score}, threshold {threshold}",
    enrolled: "{name} is enrolled with {count} recordings.", enrolledNext: "Try it: recognise a voice",
    tokenTitle: "This service asks for a token", tokenLead: "Ask whoever runs it. The token stays in this tab.",
    token: "Token", tokenAction: "Continue", tokenWrong: "This token is not one of the service’s.",
    noMicrophone: "The microphone cannot be used: ", noSecure: "browsers give it to HTTPS and localhost only",
    offline: "The service does not answer.", streamEnded: "The service ended the stream.",
    synthetic: "This model was trained on synthetic voices: its scores of real voices mean nothing.",
    unset: "The threshold of this model is unknown: start the service with --threshold, or calibrate the model.",
    modelLine: "{model} · {dimension} values · threshold {threshold}", none: "unknown",
  },
  zh: {
    skip: "跳到正文", language: "English", languageName: "中文", theme: "浅色或深色",
    tabs: "功能",
    compare: "对比", recognise: "识别", live: "实时", conversation: "对话", enrol: "注册", users: "用户",
    compareTitle: "是同一个人的声音吗？",
    compareLead: "录制或拖入两段录音，分数表示两个声音有多相似。",
    firstVoice: "第一个声音", secondVoice: "第二个声音", compareAction: "对比两个声音",
    recogniseTitle: "这是谁的声音？",
    recogniseLead: "将一段录音与所有已注册的用户比较。",
    oneVoice: "声音", recogniseAction: "识别声音",
    liveTitle: "现在谁在说话？",
    liveLead: "持续收听麦克风，直到您停止。不会保存任何内容；只有此页面保留最近一分钟的声音，以便为声音命名。",
    liveIdle: "未在收听", liveStart: "开始收听", liveStop: "停止",
    listening: "正在收听……", nobodySpeaks: "无人说话",
    tellApart: "区分陌生的声音", voices: "最近一分钟的声音",
    nameVoice: "为此声音命名", nameVoiceOf: "为此声音命名：{name}",
    conversationTitle: "谁在什么时候说话？",
    conversationLead: "把多人录音分成每个人的话轮，已注册的人会显示姓名。",
    oneConversation: "对话录音", speakerCount: "有几个人说话？", speakerCountFound: "不填则自动判断",
    conversationAction: "找出说话人", diarizing: "正在分析……每分钟语音需要几秒钟。",
    people: "{duration} 内有 {count} 个人说话", onePerson: "{duration} 内有 1 个人说话", nobodyInIt: "录音中无人说话",
    timeline: "说话人及其话轮，用方向键切换", speakerNumber: "说话人 {number}",
    spoke: "{seconds} 秒，{count} 个话轮", spokeOnce: "{seconds} 秒，1 个话轮", turn: "{name}，{start} 至 {end}",
    notDecoded: "此浏览器无法播放该文件", enrolTurn: "注册此声音",
    givenLead: "对话中判断为同一个声音的片段。注册前请逐一试听。",
    ownTakes: "改为录制三段录音",
    enrolTitle: "注册声音",
    enrolLead: "在安静的房间里录制同一个人的三段短录音，请用平常的方式说话。",
    name: "姓名", purpose: "用途", purposeExample: "例如：7 号楼门禁", take1: "录音 1", take2: "录音 2", take3: "录音 3",
    prompt1: "“有一回，北风跟太阳在那儿争论谁的本事大。”",
    prompt2: "“说着说着，来了一个过路的，身上穿了一件厚袍子。”",
    prompt3: "“他们俩就商量好了，谁能先叫这个过路的把袍子脱下来，就算谁的本事大。”",
    consent: "说话人同意：由这些录音计算声纹（属于生物识别信息），以此姓名、为此用途保存在本服务中，直到被删除。姓名、用途和时间会一同保存，录音本身不会保存。",
    enrolAction: "注册此声音",
    missing: "还需要：", missingName: "姓名", missingPurpose: "用途", missingTakes: "{count} 段合格的录音", missingTake: "1 段合格的录音",
    missingConsent: "说话人的同意",
    usersTitle: "已注册的声音", usersLead: "每个人的声纹是其录音的平均值。",
    nobody: "还没有注册任何人，请先注册声音。",
    recordings: "{count} 段录音", recording: "1 段录音",
    exportAction: "导出", exportLabel: "导出 {name} 的全部数据",
    deleteAction: "删除", deleteLabel: "删除 {name}",
    deleteTitle: "删除 {name}？", deleteLead: "此人的声纹和其他所有已存数据都将被清除，且无法恢复。",
    deleted: "已删除 {name}。", cancel: "取消",
    footer: "录音只发送到本服务，不会保存。",
    drop: "录音，或将文件拖到这里", record: "录音", stop: "停止", play: "播放", playing: "停止", file: "文件……",
    again: "重新录音", level: "音量", chart: "最近一分钟的分数与阈值", waveform: "{seconds} 秒的波形",
    seconds: "{seconds} 秒", speech: "其中语音 {speech} 秒", decibels: "{level}\u00a0dBFS",
    checking: "正在检查……", good: "合格", doubtful: "可用，但：", refused: "不可用：",
    otherVoice: "与录音 {take} 不像同一个人（分数 {score}）",
    sameSpeaker: "同一个人", otherSpeaker: "不是同一个人", unknownThreshold: "阈值未知",
    unknown: "陌生的声音", nearest: "与任何已注册的用户都不像。",
    score: "分数", threshold: "阈值", scoreLabel: "分数 {score}，阈值 {threshold}",
    enrolled: "{name} 已注册，共 {count} 段录音。", enrolledNext: "试一试：识别声音",
    tokenTitle: "本服务需要令牌", tokenLead: "请向服务的管理者索取。令牌只保存在此标签页中。",
    token: "令牌", tokenAction: "继续", tokenWrong: "这不是本服务的令牌。",
    noMicrophone: "无法使用麦克风：", noSecure: "浏览器只允许在 HTTPS 或 localhost 下使用",
    offline: "服务没有响应。", streamEnded: "服务结束了连接。",
    synthetic: "此模型是用合成声音训练的，对真实声音的分数没有意义。",
    unset: "此模型的阈值未知：请用 --threshold 启动服务，或校准模型。",
    modelLine: "{model} · {dimension} 维 · 阈值 {threshold}", none: "未知",
  },
};

// What the service says of recordings, in its own words, and the same in Chinese.
const SERVICE_LINES = [
  [/: silent in its first ([\d.]+) s/, "前 $1 秒没有声音"],
  [/: too short, ([\d.]+) s; expected at least ([\d.]+) s/, "太短：$1 秒，至少需要 $2 秒语音"],
  [/: ([\d.]+) s of speech in its ([\d.]+) s; expected at least ([\d.]+) s/, "$2 秒中只有 $1 秒语音，至少需要 $3 秒"],
  [/^only ([\d.]+) s of speech/, "只有 $1 秒语音"],
  [/^([\d.]+) s are better/, "最好有 $1 秒"],
  [/^only the first ([\d.]+) s are used/, "只使用前 $1 秒"],
  [/^quiet, at (-?\d+) dBFS/, "音量太低（$1 dBFS）"],
  [/^its level varies by/, "音量几乎不变，像噪声而不像语音"],
  [/cannot be decoded as audio|empty \(0 bytes\)/, "不是可以解码的音频文件"],
  [/not finite/, "含有无效的采样值"],
  [/the body has more than (\d+) MB/, "文件超过 $1 MB"],
  [/num_speakers is (\d+), but the recording has/, "语音太少，无法分出 $1 个人"],
  [/all places are taken/, "服务繁忙，请稍后再试"],
];

let current = "en";

export function language() {
  return current;
}

export function text(key, values = {}) {
  const found = TEXTS[current][key];
  if (found === undefined) throw new Error(`no text ${key}`);
  return found.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

// A line of the service without the recording's name, in the language of the page.
export function serviceLine(line) {
  if (current === "zh") {
    for (const [pattern, words] of SERVICE_LINES) {
      const found = pattern.exec(line);
      if (found) return words.replace(/\$(\d)/g, (_, group) => found[group]);
    }
  }
  return line.replace(/^(the (first |second )?audio|audio \d+): /, "").replace(/ \(--\w+\)|, at -inf dBFS/g, "");
}

export function choose(wanted) {
  current = wanted in TEXTS ? wanted : "en";
  document.documentElement.lang = current === "zh" ? "zh-Hans" : "en";
  localStorage.setItem("language", current);
  translate(document);
  document.dispatchEvent(new Event("language"));
}

export function translate(root) {
  for (const each of root.querySelectorAll("[data-text]")) each.textContent = text(each.dataset.text);
  for (const each of root.querySelectorAll("[data-label]")) each.setAttribute("aria-label", text(each.dataset.label));
  for (const each of root.querySelectorAll("[data-placeholder]")) each.placeholder = text(each.dataset.placeholder);
}

export function chooseFirst() {
  choose(localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en"));
}
